//! What stands beside traffic, on a thread of its own: applying snapshots, reading files again, the admin port,
//! warnings of what ends soon. A change is applied whole or not at all (invariant 4).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::codes::{Code, Coded as _, serving};
use model::snapshot::{Bind, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::admin::Admin;
use crate::error::Error;
use crate::expiry::Expiry;
use crate::listener::Bound;
use crate::metrics::OfReload;
use crate::state::{ListenerState, State, Surroundings};
use crate::worker::Workers;

/// What a handle asks for.
pub(crate) enum Order {
    /// Open log files again, read all files again (SIGHUP).
    Reload,
    /// Count a change that never became a snapshot; open log files again all the same.
    Refused,
    /// Stop accepting, let connections finish for so long, then end.
    Drain(Option<Duration>),
}

/// How the last change went.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Counts changes that were applied, the start included.
    pub applied: u64,
    /// Counts changes that were refused.
    pub refused: u64,
    /// Why the last change was refused, wholly or in a file; none: everything is in force.
    pub problem: Option<Arc<str>>,
    /// The code of that.
    pub code: Option<&'static Code>,
}

pub(crate) struct Control {
    surroundings: Surroundings,
    state: Arc<State>,
    bounds: Vec<Arc<Bound>>,
    admin: Option<Admin>,
    workers: Workers,
    status: watch::Sender<Status>,
    states: watch::Sender<Arc<State>>,
    expiry: Expiry,
    ready: Arc<crate::admin::Health>,
}

impl Control {
    /// Loads everything and opens every socket; then, and not before, traffic is accepted.
    pub(crate) fn start(snapshot: Arc<Snapshot>, surroundings: Surroundings) -> Result<Self, Error> {
        let (state, files) = State::assemble(snapshot, &surroundings, None);
        let state = Arc::new(state?);
        let bounds = open(&state, &[])?;
        let ready = Arc::new(crate::admin::Health::default());
        let admin = match state.snapshot.admin {
            Some(address) => {
                Some(Admin::open(address, Arc::clone(&surroundings.metrics), Arc::clone(&ready))?)
            }
            None => None,
        };
        let count = state
            .snapshot
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        let workers = Workers::start(count).map_err(|error| {
            Error::new(
                &model::codes::usage::INTERNAL,
                format!("the worker threads cannot be started: {error}"),
            )
        })?;
        for bound in &bounds {
            workers.listen(bound);
        }
        surroundings.source.watch(&files);
        let status = watch::Sender::new(Status { applied: 1, ..Status::default() });
        let states = watch::Sender::new(Arc::clone(&state));
        let expiry = Expiry::default();
        let mut control = Self { surroundings, state, bounds, admin, workers, status, states, expiry, ready };
        control.after_change();
        control.ready.set_ready(true);
        Ok(control)
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Where is listened, by listener.
    pub(crate) fn addresses(&self) -> Vec<(String, Bind)> {
        self.bounds.iter().map(|bound| (bound.state.load().name.to_string(), bound.local.clone())).collect()
    }

    pub(crate) fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Works until a drain is over.
    pub(crate) async fn run(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut changes = self.surroundings.source.changes();
        crate::upstream::check::start(self.state.services.values(), &self.surroundings.metrics.http);
        if let Some(admin) = &mut self.admin {
            admin.serve();
        }
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        let mut feeding = true;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload) => {
                        self.surroundings.logs.reopen();
                        self.apply(Arc::clone(&self.state.snapshot));
                    }
                    Some(Order::Refused) => {
                        self.surroundings.logs.reopen();
                        self.count_refused();
                    }
                    Some(Order::Drain(limit)) => return self.drain(limit).await,
                    None => return self.drain(None).await,
                },
                changed = snapshots.changed(), if feeding => match changed {
                    Ok(()) => {
                        let snapshot = Arc::clone(&snapshots.borrow_and_update());
                        self.apply(snapshot);
                    }
                    // Whoever made snapshots makes no more; the last one stays.
                    Err(_) => feeding = false,
                },
                Ok(()) = changes.changed() => {
                    changes.borrow_and_update();
                    self.apply(Arc::clone(&self.state.snapshot));
                }
                _ = minute.tick() => self.expiry.look(&self.state.material),
            }
        }
    }

    fn apply(&mut self, snapshot: Arc<Snapshot>) {
        match self.change(snapshot) {
            Ok(()) => {
                let problem = self.state.refused.first().cloned();
                for error in &self.state.refused {
                    refused(error, "a file is refused, its last good content stays in force");
                }
                self.surroundings.metrics.stale.set(i64::from(problem.is_some()));
                // A change of which a file was refused is not one that went well: it must not look like one.
                let result = if problem.is_some() { "refused" } else { "applied" };
                self.surroundings.metrics.reloads.get_or_create(&OfReload { result }).inc();
                self.status.send_modify(|status| {
                    status.applied += 1;
                    status.code = problem.as_ref().map(Error::code);
                    status.problem = problem.map(|error| error.to_string().into());
                });
                if self.state.refused.is_empty() {
                    tracing::info!("reloaded");
                }
                self.after_change();
                crate::upstream::check::start(self.state.services.values(), &self.surroundings.metrics.http);
            }
            Err(error) => {
                refused(&error, "the change is refused, what was in force stays so");
                self.count_refused();
                self.status.send_modify(|status| {
                    status.refused += 1;
                    status.code = Some(error.code());
                    status.problem = Some(error.to_string().into());
                });
            }
        }
    }

    /// What is in force is older than what is wanted.
    fn count_refused(&self) {
        self.surroundings.metrics.stale.set(1);
        self.surroundings.metrics.reloads.get_or_create(&OfReload { result: "refused" }).inc();
    }

    /// Applies a snapshot, or changes nothing.
    fn change(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Error> {
        let (made, mut files) = State::assemble(snapshot, &self.surroundings, Some(&self.state));
        let state = match made {
            Ok(state) => Arc::new(state),
            Err(error) => {
                // The files of both are watched: a mended one is read again by itself.
                let (_, old) =
                    State::assemble(Arc::clone(&self.state.snapshot), &self.surroundings, Some(&self.state));
                files.extend(old);
                self.surroundings.source.watch(&files);
                return Err(error);
            }
        };
        let bounds = open(&state, &self.bounds)?;
        let admin = match state.snapshot.admin {
            address if address == self.state.snapshot.admin => None,
            Some(address) => {
                let (metrics, ready) = (Arc::clone(&self.surroundings.metrics), Arc::clone(&self.ready));
                Some(Some(Admin::open(address, metrics, ready)?))
            }
            None => Some(None),
        };
        // Nothing fails from here on.
        if let Some(admin) = admin {
            self.admin = admin;
            if let Some(admin) = &mut self.admin {
                admin.serve();
            }
        }
        for bound in &bounds {
            match self.bounds.iter().find(|old| Arc::ptr_eq(old, bound)) {
                Some(_) => {
                    if let Some(new) = owner(&state, bound) {
                        bound.state.store(new);
                    }
                }
                None => self.workers.listen(bound),
            }
        }
        for old in &self.bounds {
            if !bounds.iter().any(|bound| Arc::ptr_eq(old, bound)) {
                old.close();
            }
        }
        for old in &self.state.listeners {
            let goes_on = state.listeners.iter().any(|new| new.drain.is(&old.drain));
            if !goes_on {
                old.drain.begin();
            }
        }
        self.bounds = bounds;
        self.surroundings.source.watch(&files);
        self.state = state;
        Ok(())
    }

    fn after_change(&mut self) {
        self.states.send_replace(Arc::clone(&self.state));
        self.expiry.publish(&self.state.material, &self.surroundings.metrics);
        self.expiry.look(&self.state.material);
    }

    async fn drain(self, limit: Option<Duration>) {
        let limit =
            limit.or_else(|| self.state.snapshot.drain.map(|span| span.0)).unwrap_or(Duration::from_secs(30));
        self.ready.set_ready(false);
        for bound in &self.bounds {
            bound.close();
        }
        for listener in &self.state.listeners {
            listener.drain.begin();
        }
        let connections = self.workers.connections.clone();
        connections.close();
        if !connections.is_empty() {
            tracing::info!("draining {} connections for at most {limit:?}", connections.len());
        }
        if tokio::time::timeout(limit, connections.wait()).await.is_err() {
            tracing::warn!(
                "{} connections were not finished within {limit:?} and are cut off",
                connections.len()
            );
        }
        self.workers.stop();
        drop(self.bounds);
        self.surroundings.logs.flush();
    }
}

fn refused(error: &Error, what: &str) {
    let code = &serving::RELOAD_REFUSED;
    tracing::error!(code = code.id, reason = error.code().id, detail = %error, "{what}: {error}");
}

/// The listener that has a socket now. Ports that the system chose belong to a name.
fn owner(state: &State, bound: &Bound) -> Option<Arc<ListenerState>> {
    let by_system = matches!(bound.bind, Bind::Socket(address) if address.port() == 0);
    let name = Arc::clone(&bound.state.load().name);
    let has = |listener: &&Arc<ListenerState>| {
        listener.spec.bind.contains(&bound.bind) && (!by_system || listener.name == name)
    };
    state.listeners.iter().find(has).cloned()
}

/// The sockets of a state: those that are open already, and the others newly opened. All or none.
fn open(state: &State, known: &[Arc<Bound>]) -> Result<Vec<Arc<Bound>>, Error> {
    let mut bounds: Vec<Arc<Bound>> = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for listener in &state.listeners {
        for bind in &listener.spec.bind {
            let by_system = matches!(bind, Bind::Socket(address) if address.port() == 0);
            if !by_system && !taken.insert(bind.to_string()) {
                let what = format!("two listeners have the address {bind}");
                return Err(Error::new(&serving::ADDRESS_IN_USE, what).with("listener", &listener.name).fix(
                    "give each listener an address of its own, or make one listener with several hosts",
                ));
            }
            let mine = |bound: &&Arc<Bound>| {
                bound.bind == *bind && (!by_system || bound.state.load().name == listener.name)
            };
            let bound = match known.iter().find(mine) {
                Some(bound) => Arc::clone(bound),
                None => Arc::new(Bound::open(bind, Arc::clone(listener))?),
            };
            bounds.push(bound);
        }
    }
    Ok(bounds)
}
