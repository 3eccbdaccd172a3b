use super::*;

#[test]
fn the_entry_stands_last_once_and_is_taken_away_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place { conf: folder.path().join("net.d"), bin: folder.path().join("bin") };
    assert!(place.entry().is_err());
    std::fs::create_dir_all(&place.conf).unwrap();
    std::fs::create_dir_all(&place.bin).unwrap();
    std::fs::write(place.conf.join("10-one.conflist"), r#"{"name": "n", "plugins": [{"type": "bridge"}]}"#)
        .unwrap();
    std::fs::write(place.conf.join("99-other.conflist"), "{}").unwrap();
    let types = || -> Vec<String> {
        let list: Value =
            serde_json::from_slice(&std::fs::read(place.conf.join("10-one.conflist")).unwrap()).unwrap();
        list["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(place.entry(), Ok(true));
    assert_eq!(place.entry(), Ok(false));
    assert_eq!(types(), ["bridge", NAME]);
    // Somebody put another one behind it.
    std::fs::write(
        place.conf.join("10-one.conflist"),
        format!(r#"{{"plugins": [{{"type": "bridge"}}, {{"type": "{NAME}"}}, {{"type": "portmap"}}]}}"#),
    )
    .unwrap();
    assert_eq!(place.entry(), Ok(true));
    assert_eq!(types(), ["bridge", "portmap", NAME]);
    place.program().unwrap();
    place.remove().unwrap();
    assert_eq!(types(), ["bridge", "portmap"]);
    assert_eq!(std::fs::read_dir(&place.bin).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&place.conf).unwrap().count(), 2, "no temporary file is left");
    std::fs::write(place.conf.join("00-single.conf"), "{}").unwrap();
    assert!(place.entry().unwrap_err().contains("no list of plugins"));
}
