use super::*;

#[test]
fn while_the_proxy_is_away_only_pods_that_are_known_to_be_elsewhere_start() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Namespaces::read(folder.path());
    assert!(
        !nothing.may_start("shop") && nothing.may_start("kube-system") && nothing.may_start("handfast-node")
    );
    let known = Namespaces { node: ["bank".to_owned()].into(), other: ["shop".to_owned()].into() };
    known.write(folder.path()).unwrap();
    let read = Namespaces::read(folder.path());
    assert_eq!(read, known);
    assert!(read.may_start("shop") && !read.may_start("bank") && !read.may_start("new"));
    std::fs::write(folder.path().join(FILE), "{\"node\": [").unwrap();
    assert!(!Namespaces::read(folder.path()).may_start("shop"), "a damaged file says nothing");
}
