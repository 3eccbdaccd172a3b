//! A credential over its life, by a clock that jumps: rotations, an absent control plane, one that is behind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use certs::{AltName, KeyKind, PrivateKey, Request, Serial, Usage};
use controller::authority::{State, Subject};
use controller::mesh::control::trust;
use model::identity::TrustDomain;
use tokio::time::Instant;
use wire::client::{Adopting, Missing};

use super::*;
use crate::commands::mesh::proxy::identity::issued;

const LIFE: time::Duration = time::Duration::hours(24);

/// A control plane in this process.
#[derive(Clone)]
struct Plane {
    began: Instant,
    since: OffsetDateTime,
    /// Who signs; none while it is away.
    authority: Arc<Mutex<Option<State>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    ends: Arc<Mutex<i64>>,
}

impl Source for Plane {
    fn ask(&self) -> BoxFuture<'static, Result<Issued, String>> {
        let own = self.clone();
        Box::pin(async move {
            own.asked.lock().unwrap().push(Instant::now());
            let state = own.authority.lock().unwrap().clone().ok_or("it is away")?;
            Ok(own.sign(&state))
        })
    }

    fn now(&self) -> OffsetDateTime {
        self.since + self.began.elapsed()
    }

    fn workloads(&self) -> usize {
        100
    }

    fn in_force(&self, not_after: i64) {
        *self.ends.lock().unwrap() = not_after;
    }
}

impl Plane {
    fn sign(&self, state: &State) -> Issued {
        let (member, issuer) = state.active().unwrap();
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let request = Request::new("web").usage(Usage::Both).lifetime(LIFE);
        let request = request.with(AltName::uri(&identity().to_string()).unwrap());
        let above = state.above(member).unwrap();
        let signed =
            certs::issue::leaf(&request, &key, &Serial::random().unwrap(), issuer, &above, None, self.now());
        let chain = certs::pem("CERTIFICATE", &signed.unwrap().der) + &state.intermediates_pem(member);
        issued(&chain, key.to_pem(), &state.trust_bundle_pem(), self.now()).unwrap()
    }

    fn becomes(&self, state: Option<&State>) {
        *self.authority.lock().unwrap() = state.cloned();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn identity() -> SpiffeId {
    SpiffeId::service_account(&TrustDomain::default(), "shop", "web").unwrap()
}

/// A workload, its control plane, and what was told to it.
struct Scene {
    plane: Plane,
    trust: watch::Sender<Option<Arc<Trust>>>,
    adopting: Adopting,
    credential: watch::Receiver<Arc<Credential>>,
    _roots: watch::Sender<Arc<Vec<u8>>>,
}

impl Scene {
    async fn new(state: &State) -> Self {
        let plane = Plane {
            began: Instant::now(),
            since: OffsetDateTime::now_utc(),
            authority: Arc::new(Mutex::new(Some(state.clone()))),
            asked: Arc::default(),
            ends: Arc::default(),
        };
        let (roots_sender, roots) = watch::channel(Arc::new(state.trust_bundle_pem().into_bytes()));
        let (trust, told) = watch::channel(None);
        let adopting = Adopting::default();
        let adopter = adopting.enter("web");
        let keeping = Keeping { source: plane.clone(), identity: identity(), roots, trust: told, adopter };
        let credential = keep(keeping).await;
        Self { plane, trust, adopting, credential, _roots: roots_sender }
    }

    fn tell(&self, state: &State) -> Arc<Trust> {
        let told = Arc::new(trust(state).unwrap());
        self.trust.send_replace(Some(Arc::clone(&told)));
        told
    }

    fn missing(&self, told: &Trust) -> Missing {
        self.adopting.missing(told)
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

fn none() -> Missing {
    BTreeMap::new()
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_rotation_is_taken_up_and_agreed_to_only_then() {
    let now = OffsetDateTime::now_utc();
    let first = State::new(TrustDomain::default(), now).unwrap();
    let mut scene = Scene::new(&first).await;
    let told = scene.tell(&first);
    scene.pass(Duration::from_secs(1)).await;
    assert_eq!((scene.missing(&told), scene.plane.asked()), (none(), 1));
    let _ = scene.credential.borrow_and_update();

    // A new root: taken up at once, with the certificate that there is.
    let started = first.start(Subject::Root, now).unwrap();
    let told = scene.tell(&started);
    assert_eq!(scene.missing(&told).len(), 1);
    scene.pass(Duration::from_millis(10)).await;
    assert!(scene.credential.has_changed().unwrap(), "a new credential is for new handshakes");
    assert_eq!((scene.missing(&told), scene.plane.asked()), (none(), 1));

    // Another authority issues: a certificate of it is asked for, and only then it is agreed to.
    let switched = started.confirm(now).unwrap().switch(now).unwrap();
    let told = scene.tell(&switched);
    // This control plane has not heard of it yet.
    scene.pass(Duration::from_secs(5)).await;
    let missing = scene.missing(&told);
    assert!(scene.plane.asked() > 1 && missing["web"].contains("of the former authority"), "{missing:?}");
    scene.plane.becomes(None);
    scene.pass(Duration::from_secs(300)).await;
    assert!(scene.missing(&told)["web"].contains("it is away"));
    scene.plane.becomes(Some(&switched));
    scene.pass(LONGEST).await;
    assert_eq!(scene.missing(&told), none());

    // The old root goes; nothing is asked for.
    let asked = scene.plane.asked();
    let retired = switched.retire(&[], true, now).unwrap();
    let told = scene.tell(&retired);
    scene.pass(Duration::from_millis(10)).await;
    assert_eq!((scene.missing(&told), scene.plane.asked()), (none(), asked));
    // It is renewed later than the first one would have been.
    scene.pass(Duration::from_secs(14 * 3600)).await;
    assert_eq!(scene.plane.asked(), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_away_for_longer_than_half_a_life_changes_nothing_until_it_is_back() {
    let first = State::new(TrustDomain::default(), OffsetDateTime::now_utc()).unwrap();
    let mut scene = Scene::new(&first).await;
    let told = scene.tell(&first);
    scene.pass(Duration::from_secs(1)).await;
    let _ = scene.credential.borrow_and_update();
    let ends = *scene.plane.ends.lock().unwrap();
    scene.plane.becomes(None);
    // Past the half, nearly to the end: it goes on with what it has, asks again and again, and never all the time.
    scene.pass(Duration::from_secs(23 * 3600)).await;
    assert!(!scene.credential.has_changed().unwrap());
    assert_eq!(scene.missing(&told), none(), "it trusts what it was told, with a certificate of who issues");
    let asked = scene.plane.asked();
    let most = 13 * 3600 / (LONGEST.as_secs() / 2) + 20;
    assert!((1000..=usize::try_from(most).unwrap()).contains(&asked), "{asked} times, at most {most}");
    assert_eq!(*scene.plane.ends.lock().unwrap(), ends, "the metric says when it ends");
    scene.plane.becomes(Some(&first));
    scene.pass(LONGEST).await;
    assert!(scene.credential.has_changed().unwrap());
    assert!(*scene.plane.ends.lock().unwrap() > ends + 22 * 3600);
    let asked = scene.plane.asked();
    scene.pass(Duration::from_secs(10 * 3600)).await;
    assert_eq!(scene.plane.asked(), asked, "the next one is due at half of its life again");
}

#[test]
fn thousands_do_not_ask_at_once_and_few_do_not_wait() {
    assert_eq!(spread(0), Duration::from_secs(1));
    assert_eq!(spread(500), Duration::from_secs(20));
    assert_eq!(spread(100_000), Duration::from_secs(60));
}
