//! `handfast kube configure`: settings for an application that has its Secrets mounted, and the ways in which it
//! takes renewed ones. One file for each application; their texts are in `templates/`, word for word as printed.

mod envoy;
mod go;
mod grpc;
mod java_spring;
mod nginx;
mod node;
mod postgres;
mod python;
mod recipe;
mod redis;

use std::path::PathBuf;

use probe::dial::Endpoint;
use serde::Serialize;

use super::super::Globals;
use crate::failure::{EXIT_OK, Outcome};
use crate::output;
use recipe::{Places, Recipe, Renewal, Role};

/// Arguments of `handfast kube configure`.
#[derive(clap::Args)]
#[command(
    after_help = "Every printed file was tried with the real program (docs/kubernetes-applications.md says \
    which could not be). -o json holds each file on its own."
)]
pub struct Args {
    /// The application.
    #[arg(long = "for", env = "HANDFAST_KUBE_FOR", value_name = "APPLICATION", value_enum)]
    application: Application,
    /// Only this end of the connection.
    #[arg(long, env = "HANDFAST_KUBE_ROLE", value_enum)]
    role: Option<Role>,
    /// Where the server's Secret is mounted.
    #[arg(long, env = "HANDFAST_KUBE_SERVER_DIR", value_name = "DIR", default_value = controller::names::SERVER_MOUNT,
        value_parser = recipe::folder)]
    server_dir: PathBuf,
    /// Where the client's Secret is mounted.
    #[arg(long, env = "HANDFAST_KUBE_CLIENT_DIR", value_name = "DIR", default_value = controller::names::CLIENT_MOUNT,
        value_parser = recipe::folder)]
    client_dir: PathBuf,
    /// Port to listen on: 8443, PostgreSQL's 5432, Redis' 6379.
    #[arg(long, env = "HANDFAST_KUBE_LISTEN", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen: Option<u16>,
    /// Server: the application behind a proxy (127.0.0.1:8080). Client: the server to call (web.default.svc).
    #[arg(long, env = "HANDFAST_KUBE_UPSTREAM", value_name = "HOST:PORT", value_parser = recipe::upstream)]
    upstream: Option<Endpoint>,
    /// Handfast's image, for the sidecar.
    #[arg(long, env = "HANDFAST_KUBE_IMAGE", value_name = "IMAGE", default_value = controller::names::IMAGE,
        value_parser = recipe::image)]
    image: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Application {
    Nginx,
    Envoy,
    Go,
    JavaSpring,
    Node,
    Python,
    Grpc,
    Postgres,
    Redis,
}

impl Application {
    fn recipe(self) -> &'static Recipe {
        match self {
            Self::Nginx => &nginx::RECIPE,
            Self::Envoy => &envoy::RECIPE,
            Self::Go => &go::RECIPE,
            Self::JavaSpring => &java_spring::RECIPE,
            Self::Node => &node::RECIPE,
            Self::Python => &python::RECIPE,
            Self::Grpc => &grpc::RECIPE,
            Self::Postgres => &postgres::RECIPE,
            Self::Redis => &redis::RECIPE,
        }
    }
}

/// The document of `-o json`.
#[derive(Serialize)]
struct Printed {
    version: u32,
    application: String,
    files: Vec<File>,
    renewal: Vec<Rung>,
}

#[derive(Serialize)]
struct File {
    role: Role,
    name: &'static str,
    text: String,
}

/// One way in which renewed files come into force, the gentlest first.
#[derive(Serialize)]
struct Rung {
    way: &'static str,
    /// `yes`: what the printed files do; `no`: it cannot; `possible`: instead of that.
    applies: &'static str,
    how: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Runs `handfast kube configure`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let recipe = args.application.recipe();
    let places = Places {
        server: args.server_dir,
        client: args.client_dir,
        listen: args.listen.unwrap_or(recipe.port),
        upstream: args.upstream,
    };
    let name = clap::ValueEnum::to_possible_value(&args.application).map(|value| value.get_name().to_owned());
    let mut files: Vec<File> = recipe
        .files
        .iter()
        .filter(|file| args.role.is_none_or(|role| role == file.role))
        .map(|file| File {
            role: file.role,
            name: file.name,
            text: places.fill(file.role, recipe, file.text),
        })
        .collect();
    if let (Renewal::Told { command, script, .. }, Some(Role::Server) | None) = (&recipe.server, args.role) {
        let text = include_str!("templates/shared/reload.sh").replace("{{COMMAND}}", command);
        files.push(File { role: Role::Server, name: script, text: places.fill(Role::Server, recipe, &text) });
    }
    let printed = Printed {
        version: 1,
        application: name.unwrap_or_default(),
        files,
        renewal: ladder(recipe, &places, args.role, &args.image),
    };
    output::print(globals.output, &printed, || table(&printed))?;
    Ok(EXIT_OK)
}

fn ladder(recipe: &Recipe, places: &Places, role: Option<Role>, image: &str) -> Vec<Rung> {
    let rung = |way, applies, how: &str| Rung { way, applies, how: how.to_owned(), file: None };
    if role == Some(Role::Client) {
        return vec![rung("the application watches the files", "yes", recipe.client)];
    }
    let mut rungs = match &recipe.server {
        Renewal::Watches(how) => {
            vec![rung("the application watches the files", "yes", how), rung("a signal", "no", "not needed")]
        }
        Renewal::Told { how, .. } => vec![
            rung("the application watches the files", "no", "it does not"),
            rung(
                "a signal or command",
                "yes",
                &format!("{how}; reload.sh does it when kubelet has swapped the files"),
            ),
        ],
    };
    rungs.push(rung(
        "an HTTP hook",
        "possible",
        "an application of yours with a path that reloads: kube wire --reload hook:http://127.0.0.1:PORT/PATH adds a sidecar that calls it",
    ));
    rungs.push(Rung {
        file: Some(include_str!("templates/shared/rollout.yaml").to_owned()),
        ..rung(
            "a rolling restart",
            "possible",
            "for what reads its certificate only at the start: kube wire --reload restart lets the controller do it",
        )
    });
    let sidecar = include_str!("templates/shared/sidecar.yaml")
        .replace("{{TCP}}", if recipe.tcp { ", --tcp" } else { "" })
        .replace("{{IMAGE}}", image);
    rungs.push(Rung {
        file: Some(places.fill(Role::Server, recipe, &sidecar)),
        ..rung(
            "Handfast as a sidecar",
            "possible",
            "ends TLS for what cannot speak it, and watches the files",
        )
    });
    rungs
}

/// For people: the files with their names, then the ladder.
fn table(printed: &Printed) -> String {
    let mut text = String::new();
    for file in &printed.files {
        let role = if file.role == Role::Server { "server" } else { "client" };
        text.push_str(&format!("==> {role}: {} <==\n{}\n", file.name, file.text));
    }
    text.push_str("==> how a renewed certificate comes into force <==\n");
    for (number, rung) in printed.renewal.iter().enumerate() {
        text.push_str(&format!("{}. {} [{}]: {}\n", number + 1, rung.way, rung.applies, rung.how));
        for line in rung.file.iter().flat_map(|file| file.lines()) {
            text.push_str(&format!("       {line}\n"));
        }
    }
    text
}
