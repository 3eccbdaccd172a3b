//! Which kinds of `certificates.k8s.io` the cluster serves: some of them are behind a feature gate.

use kube::Client;
use kube::api::ApiResource;

use crate::error::{Error, Result};

const GROUP: &str = "certificates.k8s.io";

/// A kind that a cluster may have or not.
pub struct Optional {
    /// As in `ClusterTrustBundle`.
    pub kind: &'static str,
    /// As in `clustertrustbundles`.
    pub plural: &'static str,
}

impl Optional {
    /// The best version of it that the cluster serves, `None` where it serves none.
    ///
    /// # Errors
    ///
    /// When the API server cannot be asked: that says nothing about the kind.
    pub async fn find(&self, client: &Client) -> Result<Option<ApiResource>> {
        for version in ["v1", "v1beta1"] {
            let api_version = format!("{GROUP}/{version}");
            let list = match client.list_api_group_resources(&api_version).await {
                Ok(list) => list,
                Err(kube::Error::Api(answer)) if answer.code == 404 => continue,
                Err(error) => return Err(Error::api(format!("list the kinds of {api_version}"))(error)),
            };
            if list.resources.iter().any(|resource| resource.name == self.plural) {
                return Ok(Some(ApiResource {
                    group: GROUP.to_owned(),
                    version: version.to_owned(),
                    api_version,
                    kind: self.kind.to_owned(),
                    plural: self.plural.to_owned(),
                }));
            }
        }
        Ok(None)
    }
}
