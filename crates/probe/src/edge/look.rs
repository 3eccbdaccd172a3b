//! Which certificates lie in files, seen from where the files are. Only certificates are read, and only they go out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::identity::certificates;

/// The version of plan and findings; the two ends have to be of the same.
pub const VERSION: u32 = 1;
/// No bundle is as long as this.
const LONGEST: u64 = 4 << 20;

/// Which files are looked at.
#[derive(Serialize, Deserialize)]
pub struct LookPlan {
    /// See [`VERSION`].
    pub version: u32,
    /// The files, each with the certificate that is waited for (DER).
    pub files: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// How long, in milliseconds.
    pub wait: u64,
}

/// What lies in them, in the order of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub struct Looked {
    /// See [`VERSION`].
    pub version: u32,
    /// Certificates (DER), or why there are none.
    pub files: Vec<Result<Vec<Vec<u8>>, String>>,
}

/// Looks until every file holds what is waited for, or the time is over.
pub async fn run(plan: &LookPlan) -> Looked {
    let deadline = Instant::now() + Duration::from_millis(plan.wait);
    loop {
        let files: Vec<_> = plan.files.iter().map(|(path, _)| read(path)).collect();
        let complete = plan.files.iter().zip(&files).all(|((_, wanted), held)| match (wanted, held) {
            (Some(wanted), Ok(held)) => held.contains(wanted),
            (None, _) => true,
            (Some(_), Err(_)) => false,
        });
        if complete || Instant::now() >= deadline {
            return Looked { version: VERSION, files };
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn read(path: &PathBuf) -> Result<Vec<Vec<u8>>, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > LONGEST {
        return Err(failed(format!("it has {size} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found = certificates(&text).map_err(|error| failed(error.to_string()))?;
    Ok(found.iter().map(|der| der.to_vec()).collect())
}
