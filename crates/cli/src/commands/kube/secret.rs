//! `handfast kube secret`: a Secret of type kubernetes.io/tls from files, as `kubectl create secret tls` makes it, after
//! looking whether the pair is good; with `ca.crt` and stores on request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use certs::PrivateKey;
use certs::formats::{Contents, Format, jks, pem, pkcs12};
use certs::lint::{Severity, lint};
use controller::names::MANAGED_LABEL;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::{certificates, manifests as codes};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::apply::{self, Target};
use super::connect::{self, Cluster};
use crate::commands::Globals;
use crate::commands::cert::input;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output::{self, Format as Output};

/// Arguments of `handfast kube secret`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the Secret.
    name: String,
    /// The certificate, leaf first, then its intermediates.
    #[arg(long, env = "HANDFAST_CERT_FILE", value_name = "FILE")]
    cert: PathBuf,
    /// Its private key.
    #[arg(long, env = "HANDFAST_KEY_FILE", value_name = "FILE")]
    key: PathBuf,
    /// Roots that peers are checked against, for `ca.crt`. Without it there is no `ca.crt`.
    #[arg(long, env = "HANDFAST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Namespace. When applying, that of the kubeconfig's context by default.
    #[arg(short = 'n', long, env = "HANDFAST_NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    stores: StoreArgs,
    /// File with the password of the stores.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Take a certificate that has expired, too.
    #[arg(long, env = "HANDFAST_FORCE")]
    force: bool,
    /// Apply it to the cluster in place of printing it.
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// Show what would change in the cluster, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN", requires = "apply")]
    dry_run: bool,
    /// Take over what another program or person wrote into the Secret.
    #[arg(long, env = "HANDFAST_FORCE_CONFLICTS", requires = "apply")]
    force_conflicts: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// Which stores there are beside the PEM files.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct StoreArgs {
    /// Add keystore.p12, and truststore.p12 when there are roots.
    #[arg(long, env = "HANDFAST_PKCS12")]
    pub pkcs12: bool,
    /// Add keystore.jks, and truststore.jks when there are roots.
    #[arg(long, env = "HANDFAST_JKS")]
    pub jks: bool,
}

/// A store: its key in the Secret, and its bytes.
pub type Store = (&'static str, Zeroizing<Vec<u8>>);

/// What a Secret is made of.
pub struct Parts {
    /// The leaf, then its intermediates, as text.
    pub certificate: Vec<u8>,
    /// The key as text.
    pub key: Zeroizing<Vec<u8>>,
    /// The roots as text.
    pub ca: Option<Vec<u8>>,
    /// Stores by name.
    pub stores: Vec<Store>,
}

/// Runs `handfast kube secret`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let password = match (&args.password_file, args.stores.pkcs12 || args.stores.jks) {
        (Some(file), _) => Some(input::password(file)?),
        (None, true) => {
            return Err(Failure::usage("a store needs --password-file, a file with its password"));
        }
        (None, false) => None,
    };
    let contents = input::certificates(&args.cert, None)?;
    let keys = input::contents(&args.key, None)?;
    let Some(key) = keys.keys.first() else {
        let what = match keys.encrypted_keys.is_empty() {
            true => format!("there is no private key in {}", args.key.display()),
            false => format!("the private key in {} is encrypted, which no pod can open", args.key.display()),
        };
        return Err(Failure::new(&codes::SECRET_PAIR, what).exit(EXIT_USAGE));
    };
    let key = PrivateKey::from_der(&key.0)?;
    let ca = args.ca.as_deref().map(|path| input::certificates(path, None)).transpose()?;
    let roots = ca.as_ref().map(|ca| ca.certificates.clone()).unwrap_or_default();
    check(&contents.certificates, &key, &roots, args.force)?;
    // As it was written, when it was text: the same bytes as kubectl would take.
    let text = |path: &PathBuf, contents: &Contents| -> Result<Vec<u8>, Failure> {
        match contents.format {
            Format::Pem => input::bytes(path),
            _ => Ok(pem::write(&contents.certificates).into_bytes()),
        }
    };
    let key_text = match keys.format {
        Format::Pem => Zeroizing::new(input::bytes(&args.key)?),
        _ => Zeroizing::new(key.to_pem().as_bytes().to_vec()),
    };
    let parts = Parts {
        certificate: text(&args.cert, &contents)?,
        key: key_text,
        ca: match (&args.ca, &ca) {
            (Some(path), Some(ca)) => Some(text(path, ca)?),
            _ => None,
        },
        stores: stores(args.stores, &args.name, &contents.certificates, &key, &roots, password.as_deref())?,
    };
    let secret = object(&args.name, args.namespace.as_deref(), parts)?;
    let delivery = Delivery { apply: args.apply, dry_run: args.dry_run, force: args.force_conflicts };
    deliver(vec![secret], delivery, args.namespace, &args.cluster, globals)
}

/// Refuses what cannot work, and warns of what will not work for long.
fn check(
    chain: &[CertificateDer<'static>],
    key: &PrivateKey,
    roots: &[CertificateDer<'static>],
    force: bool,
) -> Result<(), Failure> {
    let now = i64::try_from(input::now()).unwrap_or(i64::MAX);
    for finding in lint(chain, Some(&key.public_key_info()), roots, now)? {
        let fatal = finding.code == certificates::LINT_KEY_MISMATCH.id
            || (finding.code == certificates::LINT_EXPIRED.id && finding.position == 1 && !force);
        if fatal {
            return Err(Failure::new(&codes::SECRET_PAIR, finding.what)
                .with("certificate", finding.subject)
                .with("finding", finding.code)
                .exit(EXIT_USAGE));
        }
        if finding.severity >= Severity::Warning {
            eprintln!("warning[{}]: {}: {}", finding.code, finding.subject, finding.what);
        }
    }
    Ok(())
}

/// The stores that are wanted.
pub fn stores(
    wanted: StoreArgs,
    alias: &str,
    chain: &[CertificateDer<'static>],
    key: &PrivateKey,
    roots: &[CertificateDer<'static>],
    password: Option<&String>,
) -> Result<Vec<Store>, Failure> {
    let mut all = Vec::new();
    let Some(password) = password else { return Ok(all) };
    let trusted: Vec<(String, CertificateDer<'static>)> =
        roots.iter().enumerate().map(|(index, root)| (format!("ca-{}", index + 1), root.clone())).collect();
    if wanted.pkcs12 {
        all.push(("keystore.p12", pkcs12::write(alias, chain, key.pkcs8_der(), password)?));
        if !trusted.is_empty() {
            all.push(("truststore.p12", pkcs12::write_truststore(&trusted, password)?));
        }
    }
    if wanted.jks {
        all.push(("keystore.jks", jks::write(alias, chain, key.pkcs8_der(), password, input::now())?));
        if !trusted.is_empty() {
            all.push(("truststore.jks", jks::write_truststore(&trusted, password, input::now())?));
        }
    }
    Ok(all)
}

/// The Secret as an object.
pub fn object(name: &str, namespace: Option<&str>, parts: Parts) -> Result<serde_json::Value, Failure> {
    let mut data = BTreeMap::from([
        ("tls.crt".to_owned(), ByteString(parts.certificate)),
        ("tls.key".to_owned(), ByteString(parts.key.to_vec())),
    ]);
    data.extend(parts.ca.map(|ca| ("ca.crt".to_owned(), ByteString(ca))));
    data.extend(parts.stores.into_iter().map(|(name, bytes)| (name.to_owned(), ByteString(bytes.to_vec()))));
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    serde_json::to_value(&secret)
        .map_err(|_| Failure::new(&model::codes::usage::INTERNAL, "the Secret cannot be written as JSON"))
}

/// How objects are delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// To the cluster, rather than to standard output.
    pub apply: bool,
    /// Only the difference.
    pub dry_run: bool,
    /// Fields that others wrote are taken over.
    pub force: bool,
}

/// Prints objects, or applies them.
pub fn deliver(
    mut objects: Vec<serde_json::Value>,
    delivery: Delivery,
    namespace: Option<String>,
    cluster: &Cluster,
    globals: &Globals,
) -> Outcome {
    let Delivery { apply, dry_run, force } = delivery;
    if !apply {
        return match globals.output {
            Output::Json => {
                let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
                let one = if objects.len() == 1 { &objects[0] } else { &list };
                output::print(globals.output, one, String::new).map(|()| EXIT_OK)
            }
            _ => output::print(Output::Table, &objects, || apply::documents(&objects)).map(|()| EXIT_OK),
        };
    }
    connect::block_on(async {
        let client = cluster.client().await?;
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        for object in &mut objects {
            object["metadata"]["namespace"] = namespace.clone().into();
            let target = Target::new(&client, object).forced(force);
            own(object, target.live().await?.as_ref(), &target.title)?;
            let diff = target.diff().await.map_err(|error| taken(error, &target.title))?;
            if dry_run || !diff.is_empty() {
                eprint!("{diff}");
            }
            if !dry_run {
                target.apply().await.map_err(|error| taken(error, &target.title))?;
                println!("{} applied", target.title);
            }
        }
        Ok(EXIT_OK)
    })
}

/// Refuses to write what the controller keeps: it would put its own back, and the pods would see both.
fn own(object: &serde_json::Value, live: Option<&serde_json::Value>, title: &str) -> Result<(), Failure> {
    let kept = live.is_some_and(|live| live["metadata"]["labels"][MANAGED_LABEL] == "true");
    if object["kind"] != "Secret" || !kept {
        return Ok(());
    }
    Err(Failure::new(
        &codes::SECRET_TAKEN,
        format!("{title} has the label {MANAGED_LABEL}: the controller keeps it"),
    ))
}

/// What another field manager wrote is taken over only when somebody says so.
fn taken(error: controller::Error, title: &str) -> Failure {
    match error {
        controller::Error::Conflict { reason, .. } => {
            Failure::new(&codes::SECRET_TAKEN, format!("{title} was written by another one: {reason}"))
        }
        error => error.into(),
    }
}
