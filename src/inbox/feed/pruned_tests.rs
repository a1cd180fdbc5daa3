//! The seams of the feed where the platform prunes rows.

use super::memory::{RowKind, StoredRow};
use super::tests::{Scene, row};

#[test]
fn pruned_inbox_goes_on_with_what_comes_next() {
    for restarts in [false, true] {
        let mut scene = Scene::begin([row(0, 1, "a"), row(9, 2, "b")]);
        scene.settle();
        for id in ["a", "b"] {
            scene.platform.prune(id);
        }
        if restarts {
            scene.restart();
        }
        assert_eq!(scene.settle(), [""; 0]);
        assert_eq!(scene.anchor(), Some(("pruned", "b".to_owned())));
        if restarts {
            scene.restart();
        }
        scene.platform.commit(row(50, 3, "c"));
        scene.platform.commit(row(60, 4, "d").large());
        scene.platform.commit(row(61, 5, "e"));
        assert_eq!(scene.poll(), ["c", "d!", "e"]);
        scene.platform.commit(row(40, 6, "late"));
        assert_eq!(scene.settle(), ["late"]);
        scene.assert_settled("e");
    }
}

#[test]
fn pruned_anchor_is_replaced_by_the_row_before_it() {
    for restarts in [false, true] {
        let mut scene = Scene::begin([row(0, 1, "a"), row(9, 2, "b")]);
        scene.settle();
        scene.platform.prune("b");
        scene.platform.commit(row(9, 3, "of its time"));
        scene.platform.commit(row(20, 4, "c"));
        if restarts {
            scene.restart();
        }
        assert_eq!(scene.poll(), ["of its time", "c"]);
        assert_eq!(scene.anchor(), Some(("behind", "a".to_owned())));
        assert_eq!(scene.settle(), [""; 0]);
        scene.assert_settled("c");
    }
}

#[test]
fn row_of_another_type_takes_the_place_of_a_pruned_anchor() {
    let mut scene = Scene::begin([row(0, 1, "a"), row(9, 2, "b")]);
    scene.settle();
    for id in ["a", "b"] {
        scene.platform.prune(id);
    }
    scene.platform.commit(StoredRow { kind: RowKind::OtherType, ..row(4, 7, "other") });
    scene.platform.commit(row(20, 3, "c"));
    assert_eq!(scene.poll(), ["c"]);
    assert_eq!(scene.anchor(), Some(("behind", "other".to_owned())));
}

#[test]
fn pruned_newest_row_is_no_loss() {
    let mut scene = Scene::begin([row(0, 1, "a"), row(9, 2, "b")]);
    scene.settle();
    scene.platform.commit(row(20, 3, "c"));
    assert_eq!(scene.pass(5), ["c"]);
    scene.platform.prune("c");
    assert_eq!(scene.pass(20), [""; 0]);
    scene.platform.commit(row(30, 4, "d"));
    assert_eq!(scene.poll(), ["d"]);
    assert_eq!(scene.settle(), [""; 0]);
    scene.assert_settled("d");
}
