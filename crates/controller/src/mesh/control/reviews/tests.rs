//! How often the API server is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::codes::kube as codes;

use super::*;

/// An API server that counts.
#[derive(Default)]
struct Server {
    asked: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    fn ask(&self, answer: Answer) -> impl Future<Output = Answer> + Send + use<> {
        let (asked, now, most) = (Arc::clone(&self.asked), Arc::clone(&self.now), Arc::clone(&self.most));
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            answer
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn good() -> Answer {
    Ok(Ok(Bearer {
        namespace: "shop".into(),
        service_account: "web".into(),
        pod: "web-1".into(),
        pod_uid: "1".into(),
        node: None,
    }))
}

fn bad() -> Answer {
    let code = &codes::REQUESTER_NOT_A_POD;
    Ok(Err(Denial { code, reason: "TokenInvalid", message: "no".into() }))
}

async fn all(reviews: &Reviews, server: &Server, tokens: impl Iterator<Item = String>) -> Vec<Answer> {
    let tokens: Vec<String> = tokens.collect();
    futures_util::future::join_all(tokens.iter().map(|token| reviews.of(token, || server.ask(good())))).await
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_asked_once_and_answers_are_forgotten_in_time() {
    let (reviews, server) = (Reviews::default(), Server::default());
    let same = std::iter::repeat_n("token".to_owned(), 500);
    assert!(all(&reviews, &server, same).await.into_iter().all(|answer| answer == good()));
    assert_eq!(server.asked(), 1);
    tokio::time::sleep(GOOD - Duration::from_secs(1)).await;
    assert_eq!(reviews.of("token", || server.ask(bad())).await, good());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reviews.of("token", || server.ask(bad())).await, bad(), "a minute, and not longer");
    assert_eq!(reviews.of("token", || server.ask(good())).await, bad());
    assert_eq!(server.asked(), 2);
    tokio::time::sleep(BAD).await;
    assert_eq!(reviews.of("token", || server.ask(good())).await, good());
    assert_eq!(reviews.of("other", || server.ask(bad())).await, bad(), "one token says nothing of another");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_asked_is_not_remembered() {
    let (reviews, server) = (Reviews::default(), Server::default());
    assert_eq!(reviews.of("token", || server.ask(Err("away".into()))).await, Err("away".into()));
    assert_eq!(reviews.of("token", || server.ask(good())).await, good());
    assert_eq!(server.asked(), 2);
    let late = reviews.of("late", std::future::pending).await;
    assert!(late.unwrap_err().contains("in time"));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_asked_at_one_time_and_who_goes_away_takes_no_place_with_him() {
    let (reviews, server) = (Reviews::default(), Server::default());
    let went = tokio::time::timeout(
        Duration::from_millis(10),
        all(&reviews, &server, (0..100).map(|number| format!("gone {number}"))),
    );
    assert!(went.await.is_err());
    let answers = all(&reviews, &server, (0..100).map(|number| number.to_string())).await;
    assert!(answers.into_iter().all(|answer| answer == good()));
    assert_eq!((server.asked(), server.most.load(Ordering::Relaxed)), (200, AT_ONCE));
    // More than can have their turn: told to come again, and nothing is remembered of them.
    let flood = all(&reviews, &server, (0..5000).map(|number| format!("flood {number}"))).await;
    assert!(flood.iter().any(|answer| answer.as_ref().is_err_and(|why| why.contains("too many"))));
    assert_eq!(reviews.of("flood 4999", || server.ask(good())).await, good());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let (reviews, server) = (Reviews::default(), Server::default());
    for start in (0..MOST + 640).step_by(640) {
        all(&reviews, &server, (start..start + 640).map(|number| number.to_string())).await;
    }
    assert!(reviews.lock().len() <= MOST);
}
