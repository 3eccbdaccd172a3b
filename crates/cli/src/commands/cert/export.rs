//! `handfast cert export`: a certificate and its key in the format that another program wants.

use std::path::PathBuf;

use certs::formats::{combined, jks, pem, pkcs12};
use certs::{Layout, PrivateKey, write_private, write_public};
use clap::ValueEnum;
use model::codes;
use zeroize::Zeroizing;

use super::input;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};

/// Arguments of `handfast cert export`.
#[derive(clap::Args)]
pub struct Args {
    /// What was issued under this name, or a file of any format.
    #[arg(value_name = "NAME|FILE")]
    source: String,
    /// The format to write.
    #[arg(long, env = "HANDFAST_FORMAT", value_enum)]
    format: Target,
    /// The file to write, with mode 0600 when it holds a key.
    #[arg(long, env = "HANDFAST_OUT_FILE", value_name = "FILE")]
    out: PathBuf,
    /// The private key, when it is not in the source.
    #[arg(long, env = "HANDFAST_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with the password of the store that is written.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the password of the store that is read; the same by default.
    #[arg(long, env = "HANDFAST_SOURCE_PASSWORD_FILE", value_name = "FILE")]
    source_password_file: Option<PathBuf>,
    /// Name of the entry in a store; the source's name by default.
    #[arg(long, env = "HANDFAST_ALIAS", value_name = "NAME")]
    alias: Option<String>,
    /// Write a store of trusted authorities: certificates only, no key.
    #[arg(long, env = "HANDFAST_TRUSTSTORE")]
    truststore: bool,
    /// Replace the file when it exists.
    #[arg(long, env = "HANDFAST_FORCE")]
    force: bool,
    /// Say what would be written, and write nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The certificates as text.
    Pem,
    /// The first certificate in binary.
    Der,
    /// PKCS#12.
    P12,
    /// Java's older store.
    Jks,
    /// Certificates and key in one text.
    Combined,
}

/// Runs `handfast cert export`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let named = Layout::new(&globals.dir).issued().join(format!("{}.crt", args.source));
    let from_ledger = !PathBuf::from(&args.source).exists() && certs::check_file_name(&args.source).is_ok();
    let (path, key_path) = if from_ledger {
        (named.clone(), args.key.clone().or_else(|| Some(named.with_extension("key"))))
    } else {
        (PathBuf::from(&args.source), args.key.clone())
    };
    let source_password = args.source_password_file.as_deref().or(args.password_file.as_deref());
    let contents = input::certificates(&path, source_password)?;
    let chain = contents.certificates;
    let alias = args.alias.clone().unwrap_or_else(|| {
        path.file_stem().map_or_else(|| "handfast".to_owned(), |stem| stem.to_string_lossy().into_owned())
    });
    let needs_key = matches!(args.format, Target::P12 | Target::Jks | Target::Combined) && !args.truststore;
    let key = if needs_key {
        let found = match (&key_path, contents.keys.first()) {
            (Some(file), _) => input::contents(file, source_password)?.keys.into_iter().next(),
            (None, first) => first.cloned(),
        };
        let der = found.ok_or_else(|| {
            Failure::new(
                &codes::certificates::EXPORT_KEY_MISSING,
                "this format holds a private key, and there is none",
            )
            .with("source", path.display())
            .exit(EXIT_USAGE)
        })?;
        let key = PrivateKey::from_der(&der.0)?;
        let first = certs::inspect::certificate(&chain[0])?;
        if certs::inspect::pin(&key.public_key_info()) != first.spki_pin {
            return Err(Failure::new(
                &codes::certificates::LINT_KEY_MISMATCH,
                "the private key does not belong to the first certificate",
            )
            .with("certificate", first.subject)
            .exit(EXIT_USAGE));
        }
        Some(key)
    } else {
        None
    };
    let password = match (&args.password_file, args.format) {
        (Some(file), _) => input::password(file)?,
        (None, Target::P12 | Target::Jks) => {
            return Err(Failure::usage(
                "this format needs --password-file, a file with the store's password",
            ));
        }
        (None, _) => Zeroizing::new(String::new()),
    };
    let pkcs8 = key.as_ref().map(PrivateKey::pkcs8_der).unwrap_or_default();
    let trusted = || chain.iter().enumerate().map(|(i, der)| (format!("{alias}-{}", i + 1), der.clone()));
    let bytes: Zeroizing<Vec<u8>> = match (args.format, args.truststore) {
        (Target::Pem, _) => Zeroizing::new(pem::write(&chain).into_bytes()),
        (Target::Der, _) => Zeroizing::new(chain[0].to_vec()),
        (Target::Combined, true) => Zeroizing::new(pem::write(&chain).into_bytes()),
        (Target::Combined, false) => Zeroizing::new(combined::write(&chain, pkcs8).as_bytes().to_vec()),
        (Target::P12, false) => pkcs12::write(&alias, &chain, pkcs8, &password)?,
        (Target::P12, true) => pkcs12::write_truststore(&trusted().collect::<Vec<_>>(), &password)?,
        (Target::Jks, false) => jks::write(&alias, &chain, pkcs8, &password, input::now())?,
        (Target::Jks, true) => {
            jks::write_truststore(&trusted().collect::<Vec<_>>(), &password, input::now())?
        }
    };
    if args.out.exists() && !args.force {
        return Err(Failure::usage(format!("{} exists; replace it with --force", args.out.display())));
    }
    let count = match args.format {
        Target::Der => "1 certificate".to_owned(),
        _ if chain.len() == 1 => "1 certificate".to_owned(),
        _ => format!("{} certificates", chain.len()),
    };
    let what = format!("{count}{}", if key.is_some() { " and the private key" } else { "" });
    if args.dry_run {
        eprintln!("would write {} ({what}, {} bytes)", args.out.display(), bytes.len());
        return Ok(EXIT_OK);
    }
    if key.is_some() {
        write_private(&args.out, &bytes)?
    } else {
        write_public(&args.out, &bytes)?
    }
    eprintln!("wrote {} ({what})", args.out.display());
    Ok(EXIT_OK)
}
