//! `handfast kube cert`: a Certificate that the controller keeps, with the rights that it takes; or with `--local` a
//! Secret that the authority of this folder signs, once.

use std::path::PathBuf;

use certs::{AltName, Authority, KeyKind, PrivateKey, Request, Usage, check_file_name};
use controller::certificate::{Certificate, CertificateSpec, CertificateUsage, Keystores};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use manifests::added;
use model::identity::SpiffeId;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::connect::{self, Cluster};
use super::secret::{self, Delivery, Parts, StoreArgs};
use crate::commands::Globals;
use crate::commands::cert::input;
use crate::duration::Lifetime;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::operator;

/// Arguments of `handfast kube cert`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the Certificate and its Secret.
    name: String,
    /// Namespace. When applying, that of the kubeconfig's context by default.
    #[arg(short = 'n', long, env = "HANDFAST_NAMESPACE")]
    namespace: Option<String>,
    /// A Service whose names it carries; may be repeated.
    #[arg(long, env = "HANDFAST_SERVICE", value_delimiter = ',')]
    service: Vec<String>,
    /// The service account whose SPIFFE ID it carries.
    #[arg(long, env = "HANDFAST_SERVICE_ACCOUNT", value_name = "NAME")]
    service_account: Option<String>,
    /// What it is for. Default: server with a Service or DNS name and no service account, else both.
    #[arg(long, env = "HANDFAST_USAGE", value_enum)]
    usage: Option<For>,
    /// A further DNS name; may be repeated. The namespace's annotation handfast.dev/allowed-dns-names must allow it.
    #[arg(long, env = "HANDFAST_DNS", value_delimiter = ',', value_name = "NAME")]
    dns: Vec<String>,
    /// The cluster addresses of the Services too.
    #[arg(long, env = "HANDFAST_CLUSTER_IPS", requires = "service")]
    cluster_ips: bool,
    /// Lifetime, as in 90d or 12h.
    #[arg(long, env = "HANDFAST_LIFETIME", value_name = "TIME")]
    lifetime: Option<Lifetime>,
    /// Kind of the key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096.
    #[arg(long, env = "HANDFAST_KEY", value_name = "KIND")]
    key: Option<KeyKind>,
    #[command(flatten)]
    stores: StoreArgs,
    /// Certificate and key in one file too, tls-combined.pem.
    #[arg(long, env = "HANDFAST_COMBINED_PEM", conflicts_with = "local")]
    combined_pem: bool,
    /// Secret of the namespace with the stores' password in its key `password`.
    #[arg(long, env = "HANDFAST_PASSWORD_SECRET", value_name = "NAME", conflicts_with = "local")]
    password_secret: Option<String>,
    /// Issue it now, from the authority in --dir, and give the Secret. Nothing renews it.
    #[arg(long, env = "HANDFAST_LOCAL")]
    local: bool,
    /// File with the stores' password, with --local.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE", requires = "local")]
    password_file: Option<PathBuf>,
    /// Apply it to the cluster in place of printing it.
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// Show what would change, and change and issue nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// With --local and --apply: take over what another program or person wrote into the Secret.
    #[arg(long, env = "HANDFAST_FORCE_CONFLICTS", requires_all = ["local", "apply"])]
    force_conflicts: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum For {
    Server,
    Client,
    Both,
}

impl Args {
    fn usage(&self) -> For {
        self.usage.unwrap_or(match self.service_account {
            None => For::Server,
            Some(_) => For::Both,
        })
    }

    fn store_wanted(&self) -> bool {
        self.stores.pkcs12 || self.stores.jks
    }
}

/// Runs `handfast kube cert`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    if args.service.is_empty() && args.dns.is_empty() && args.service_account.is_none() {
        return Err(Failure::usage("a certificate needs a name: --service, --service-account or --dns"));
    }
    if args.local { local(args, globals) } else { object(args, globals) }
}

fn object(args: Args, globals: &Globals) -> Outcome {
    let keystores = match (&args.password_secret, args.store_wanted()) {
        (Some(secret), true) => Some(Keystores {
            pkcs12: args.stores.pkcs12,
            jks: args.stores.jks,
            password_secret: secret.clone(),
        }),
        (None, true) => {
            return Err(Failure::usage("a store needs --password-secret, a Secret with its password"));
        }
        (_, false) => None,
    };
    let spec = CertificateSpec {
        secret_name: args.name.clone(),
        usage: match args.usage() {
            For::Server => CertificateUsage::Server,
            For::Client => CertificateUsage::Client,
            For::Both => CertificateUsage::Both,
        },
        service_account: args.service_account.clone(),
        services: args.service.clone(),
        cluster_ips: args.cluster_ips,
        dns_names: args.dns.clone(),
        key: args.key.map(|key| key.to_string()),
        lifetime: args.lifetime.map(|lifetime| format!("{}s", lifetime.0.whole_seconds())),
        keystores,
        combined_pem: args.combined_pem,
        restart: Vec::new(),
    };
    let mut certificate = Certificate::new(&args.name, spec);
    certificate.metadata.namespace.clone_from(&args.namespace);
    let certificate = serde_json::to_value(&certificate)
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    let passwords: Vec<String> = args.password_secret.iter().cloned().collect();
    let rights =
        added::rights(&args.name, args.namespace.as_deref(), std::slice::from_ref(&args.name), &passwords);
    let mut objects: Vec<serde_json::Value> = rights.iter().map(manifests::yaml::Value::to_json).collect();
    objects.push(certificate);
    // The Certificate and the rights have one writer, this command.
    let delivery = Delivery { apply: args.apply, dry_run: args.dry_run, force: true };
    secret::deliver(objects, delivery, args.namespace, &args.cluster, globals)
}

fn local(args: Args, globals: &Globals) -> Outcome {
    let password = match (&args.password_file, args.store_wanted()) {
        (Some(file), _) => Some(input::password(file)?),
        (None, true) => {
            return Err(Failure::usage("a store needs --password-file, a file with its password"));
        }
        (None, false) => None,
    };
    let usage = |error: certs::Error| Failure::from(error).exit(EXIT_USAGE);
    let Some(namespace) = args.namespace.clone() else {
        return Err(Failure::usage("--local needs --namespace: it is part of the names in the certificate"));
    };
    let mut authority = Authority::open(&globals.dir)?;
    let mut names = Vec::new();
    if let Some(account) = &args.service_account {
        let id = SpiffeId::service_account(authority.trust_domain(), &namespace, account)
            .map_err(|why| Failure::usage(format!("--service-account {account}: {why}")))?;
        names.push(AltName::from(&id));
    }
    for service in &args.service {
        let domain = format!("{service}.{namespace}.svc.cluster.local");
        for name in
            [service, &format!("{service}.{namespace}"), &format!("{service}.{namespace}.svc"), &domain]
        {
            names.push(AltName::dns(name).map_err(usage)?);
        }
    }
    for name in &args.dns {
        names.push(AltName::dns(name).map_err(usage)?);
    }
    if args.cluster_ips {
        for address in addresses(&args, &namespace)? {
            names.push(AltName::ip(&address).map_err(usage)?);
        }
    }
    let ledger_name = format!("{}.{namespace}", args.name);
    check_file_name(&ledger_name).map_err(usage)?;
    let mut request = Request::new(&ledger_name);
    if let Some(key) = args.key {
        request = request.key(key);
    }
    if let Some(lifetime) = args.lifetime {
        request = request.lifetime(lifetime.0);
    }
    request.usage = Some(match args.usage() {
        For::Server => Usage::Server,
        For::Client => Usage::Client,
        For::Both => Usage::Both,
    });
    request.names = names;
    request.check().map_err(usage)?;
    if args.dry_run {
        let names: Vec<String> = request.names.iter().map(ToString::to_string).collect();
        eprintln!("would issue {ledger_name} for {}", names.join(", "));
        return Ok(EXIT_OK);
    }
    let issued = authority.issue(&request, &operator::who(), OffsetDateTime::now_utc())?;
    let missing = || Failure::new(&model::codes::usage::INTERNAL, "a certificate came without its key");
    let key_pem = issued.key_pem.as_ref().ok_or_else(missing)?;
    let key = PrivateKey::from_pem(key_pem, None)?;
    let bundle = authority.trust_bundle_pem()?;
    let ders = |text: &str| -> Result<Vec<CertificateDer<'static>>, Failure> {
        Ok(certs::formats::read(text.as_bytes(), None)?.certificates)
    };
    let chain = ders(&issued.chain_pem)?;
    let parts = Parts {
        certificate: issued.chain_pem.as_bytes().to_vec(),
        key: Zeroizing::new(key_pem.as_bytes().to_vec()),
        stores: secret::stores(args.stores, &args.name, &chain, &key, &ders(&bundle)?, password.as_deref())?,
        ca: Some(bundle.into_bytes()),
    };
    let object = secret::object(&args.name, Some(&namespace), parts)?;
    eprintln!(
        "issued {ledger_name}, valid until {}; nothing renews it by itself",
        certs::rfc3339(issued.record.not_after)
    );
    let delivery = Delivery { apply: args.apply, dry_run: false, force: args.force_conflicts };
    secret::deliver(vec![object], delivery, Some(namespace), &args.cluster, globals)
}

/// The cluster addresses of the Services, from the cluster.
fn addresses(args: &Args, namespace: &str) -> Result<Vec<String>, Failure> {
    connect::block_on(async {
        let api: Api<Service> = Api::namespaced(args.cluster.client().await?, namespace);
        let mut all = Vec::new();
        for name in &args.service {
            let service = api
                .get(name)
                .await
                .map_err(controller::Error::api(format!("read Service {namespace}/{name}")))?;
            let spec = service.spec.unwrap_or_default();
            let own = spec.cluster_ips.unwrap_or_default();
            all.extend(own.into_iter().filter(|address| address != "None"));
        }
        Ok(all)
    })
}
