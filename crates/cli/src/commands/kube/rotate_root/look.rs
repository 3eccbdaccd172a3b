//! What lies in a pod's files, as its containers see them. `cat` in the container itself shows exactly that. Where an
//! image has none, an ephemeral container mounts the same volume, which is the same folder on the node; not so for
//! a subPath mount, and that is then not seen.

use std::path::PathBuf;
use std::time::Duration;

use certs::certificates_of_pem;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::{Api, Client};
use probe::edge::look::{LookPlan, Looked, VERSION};
use tokio::io::AsyncReadExt as _;

use super::super::test::container::{Settings, ask};
use super::mounts::{Holds, Place, User};

/// Certificates in a file (DER), or why they are not seen.
pub type Seen = Result<Vec<Vec<u8>>, String>;

/// Where an ephemeral container has the pod's volumes.
const FOLDER: &str = "/handfast-look";
/// No bundle is as long as this.
const LONGEST: u64 = 4 << 20;
/// For one `cat`.
const LIMIT: Duration = Duration::from_secs(20);

/// How it is looked.
pub struct How<'a> {
    /// Image of the ephemeral container.
    pub image: &'a str,
    /// For its image and start.
    pub start: Duration,
    /// How long it waits inside of the pod for what a place should hold.
    pub wait: Duration,
}

/// Looks into every place; `wanted` is the certificate that it should hold.
pub async fn look(
    client: &Client,
    user: &User,
    how: &How<'_>,
    wanted: impl Fn(&Place) -> Option<Vec<u8>>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut blind: Vec<&str> = Vec::new();
    for place in &user.places {
        let read = match place.holds {
            Holds::Other => Err("it is in a form that is not looked into".to_owned()),
            _ if blind.contains(&place.container.as_str()) => Err("cat is missing there".to_owned()),
            _ => cat(client, user, place).await,
        };
        if read.is_err() {
            blind.push(&place.container);
        }
        seen.push(read);
    }
    let rest: Vec<usize> = user
        .places
        .iter()
        .enumerate()
        .filter(|(index, place)| {
            seen.get(*index).is_some_and(Result::is_err) && place.holds != Holds::Other && !place.frozen
        })
        .map(|(index, _)| index)
        .collect();
    if !rest.is_empty() {
        let places: Vec<&Place> = rest.iter().filter_map(|index| user.places.get(*index)).collect();
        let found = from_beside(client, user, how, &places, wanted).await;
        for (at, index) in rest.iter().enumerate() {
            let Some(slot) = seen.get_mut(*index) else { continue };
            *slot = match &found {
                Ok(files) => files.get(at).cloned().unwrap_or_else(|| Err("it was left out".to_owned())),
                Err(why) => Err(why.clone()),
            };
        }
    }
    seen
}

async fn cat(client: &Client, user: &User, place: &Place) -> Seen {
    let pods: Api<Pod> = Api::namespaced(client.clone(), user.namespace());
    let name = user.pod.metadata.name.as_deref().unwrap_or_default();
    let work = async {
        let attach = AttachParams::default().container(&place.container).stdout(true).stderr(true);
        let mut process = pods
            .exec(name, ["cat", place.path.as_str()], &attach)
            .await
            .map_err(|error| controller::error::chain(&error))?;
        let (output, errors) = (process.stdout(), process.stderr());
        let status = process.take_status();
        let (mut text, mut said) = (String::new(), String::new());
        let read = async {
            if let Some(output) = output {
                let _ = output.take(LONGEST).read_to_string(&mut text).await;
            }
        };
        let read_errors = async {
            if let Some(errors) = errors {
                let _ = errors.take(LONGEST).read_to_string(&mut said).await;
            }
        };
        tokio::join!(read, read_errors);
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        if status.as_ref().and_then(|status| status.status.as_deref()) != Some("Success") {
            let why = status.and_then(|status| status.message).unwrap_or_default();
            return Err(format!("cat in the container: {}", [why.trim(), said.trim()].join(" ")));
        }
        certificates_of_pem(&text).map_err(|why| format!("{}: {why}", place.path))
    };
    match tokio::time::timeout(LIMIT, work).await {
        Ok(seen) => seen,
        Err(_) => Err("cat in the container gave no answer".to_owned()),
    }
}

async fn from_beside(
    client: &Client,
    user: &User,
    how: &How<'_>,
    places: &[&Place],
    wanted: impl Fn(&Place) -> Option<Vec<u8>>,
) -> Result<Vec<Seen>, String> {
    let mut mounts: Vec<(String, String)> =
        places.iter().map(|place| (place.volume.clone(), format!("{FOLDER}/{}", place.volume))).collect();
    mounts.sort();
    mounts.dedup();
    let files = places
        .iter()
        .map(|place| (PathBuf::from(format!("{FOLDER}/{}/{}", place.volume, place.inside)), wanted(place)))
        .collect();
    let wait = u64::try_from(how.wait.as_millis()).unwrap_or_default();
    let plan = LookPlan { version: VERSION, files, wait };
    let line = serde_json::to_string(&plan).map_err(|error| error.to_string())?;
    let settings = Settings { image: how.image, start: how.start, work: how.wait + Duration::from_secs(30) };
    let answer = ask(client, user.namespace(), &user.pod, &["--look"], &mounts, &line, &settings).await;
    let answer = answer.map_err(|failure| failure.sentence())?;
    let looked: Looked =
        serde_json::from_str(&answer).map_err(|error| format!("its answer is not understood: {error}"))?;
    if looked.version != VERSION {
        return Err(format!("the image answers in version {}, this is for {VERSION}", looked.version));
    }
    Ok(looked.files)
}
