//! When a proxy says yes to whom it is told to trust.

use super::*;
use crate::convert::tests::trust;

#[test]
fn a_yes_is_withheld_until_every_credential_is_done_and_a_no_may_become_a_yes() {
    let adopting = Adopting::default();
    let (web, db) = (adopting.enter("web"), adopting.enter("db"));
    let now = Instant::now();
    let told = Arc::new(trust(1));
    let mut waiting = Waiting::new("7".to_owned(), Some(Arc::clone(&told)), now);
    assert_eq!(waiting.word(&adopting, now), None);
    web.in_force(&told);
    assert_eq!(waiting.word(&adopting, now), None, "one of two");
    db.not_yet("the authority is away");
    assert_eq!(waiting.word(&adopting, now + PATIENCE / 2), None, "it may come yet");
    let no = Some(Word::NotYet("db: the authority is away".to_owned()));
    assert_eq!(waiting.word(&adopting, now + PATIENCE), no);
    waiting.refused = true;
    assert_eq!(waiting.word(&adopting, now + PATIENCE), None, "said once");
    db.in_force(&told);
    assert_eq!(waiting.word(&adopting, now + PATIENCE), Some(Word::Yes));
    // The step after it is another thing.
    let next = Waiting::new("8".to_owned(), Some(Arc::new(trust(2))), now);
    assert_eq!(next.word(&adopting, now), None);
    drop((web, db));
    assert_eq!(next.word(&adopting, now), Some(Word::Yes), "nobody is left who could be behind");
}

#[test]
fn nothing_to_trust_is_agreed_to_at_once() {
    let adopting = Adopting::default();
    let _web = adopting.enter("web");
    let waiting = Waiting::new("1".to_owned(), None, Instant::now());
    assert_eq!(waiting.word(&adopting, Instant::now()), Some(Word::Yes));
}
