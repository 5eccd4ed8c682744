//! Files that are torn, damaged, foreign, edited or removed.

use std::fs::File;

use super::*;

#[test]
fn f81_a_file_torn_at_any_byte_of_its_last_record_keeps_every_whole_record() {
    let whole = lines(&[record(1), record(2)]);
    let torn = lines(&[record(3)]);
    for cut in 0..torn.len() {
        let dir = dir_with(&[&whole, &torn[..cut]].concat());
        let unfinished = read(dir.path()).into_iter().filter_map(Result::err).collect::<Vec<_>>();
        let at = unfinished.iter().map(|found| (found.offset, found.bytes)).collect::<Vec<_>>();
        let expected = if cut == 0 { vec![] } else { vec![(whole.len() as u64, cut)] };
        assert_eq!(at, expected, "cut at {cut}");

        open(dir.path()).unwrap().append(&[record(4)]).unwrap();
        let kept = if cut == torn.len() - 1 { vec![1, 2, 3, 4] } else { vec![1, 2, 4] };
        assert_eq!(readable(dir.path()), kept.into_iter().map(record).collect::<Vec<_>>(), "cut at {cut}");
        let aside = fs::read(dir.path().join("dead-letters.torn")).unwrap_or_default();
        let expected = if (1..torn.len() - 1).contains(&cut) { [&torn[..cut], b"\n"].concat() } else { vec![] };
        assert_eq!(aside, expected, "cut at {cut}");
    }
}

#[test]
fn a_torn_record_longer_than_a_search_block_is_found() {
    let whole = lines(&[record(1)]);
    for torn in [65_535, 65_536, 65_537, 200_000] {
        let dir = dir_with(&[&whole[..], &vec![0; torn]].concat());
        open(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), whole, "{torn} bytes");
    }
    let only_zeros = dir_with(&vec![0; 200_000]);
    open(only_zeros.path()).unwrap();
    assert_eq!(fs::read(only_zeros.path().join(FILE)).unwrap(), b"");
}

#[test]
fn a_file_that_does_not_begin_with_a_dead_letter_is_refused_and_not_changed() {
    for content in ["user secret", "precious\n", "\n", "line\nuser secret", "{\"time\":1}\n{\"v\":1"] {
        let dir = dir_with(content.as_bytes());
        let error = open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("it does not begin with a dead letter"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), content);
        assert!(!dir.path().join("dead-letters.torn").exists());
    }
}

#[test]
fn every_flipped_bit_is_detected_and_affects_no_other_record() {
    let all = [record(1), record(2), record(3)];
    let bytes = lines(&all);
    let start = lines(&all[..1]).len();
    let end = lines(&all[..2]).len();
    let dir = dir_with(&bytes);
    for bit in start * 8..end * 8 {
        let mut rotten = bytes.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join(FILE), rotten).unwrap();
        let found = read(dir.path());
        let good = found.iter().flatten().map(|record| record.origin.log).collect::<Vec<_>>();
        let bad = found.iter().filter_map(|found| found.as_ref().err()).collect::<Vec<_>>();
        assert_eq!(good, [1, 3], "bit {bit}");
        assert!(!bad.is_empty(), "bit {bit}");
        assert!(bad.iter().all(|bad| (start as u64..end as u64).contains(&bad.offset)), "bit {bit}: {bad:?}");
        assert!(bad.iter().all(|bad| matches!(bad.defect, Defect::Damaged)), "bit {bit}: {bad:?}");
    }
}

#[test]
fn a_damaged_record_is_reported_once_whatever_its_log_contains() {
    let mut bytes = lines(&odd_records());
    bytes.iter_mut().filter(|byte| **byte == b'5').for_each(|byte| *byte = b'6');
    let dir = dir_with(&bytes);
    let found = read(dir.path()).into_iter().map(|found| found.unwrap_err()).collect::<Vec<_>>();
    let starts = [0, 1, 2].map(|count| lines(&odd_records()[..count]).len() as u64);
    assert_eq!(found.iter().map(|found| found.offset).collect::<Vec<_>>(), starts);
}

#[test]
fn a_record_of_a_newer_version_is_reported_and_its_neighbours_are_read() {
    let mut newer = br#"{"v":3,"whatever":{"v":3}"#.to_vec();
    let mut crc = flate2::Crc::new();
    crc.update(&newer);
    newer.extend(format!(",\"crc\":\"{:08x}\"}}\n", crc.sum()).into_bytes());
    let dir = dir_with(&[lines(&[record(1)]), newer, lines(&[record(2)])].concat());
    let found = read(dir.path());
    assert!(matches!(found[1].as_ref().unwrap_err().defect, Defect::Newer(3)), "{found:?}");
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), [record(1), record(2)]);
}

#[test]
fn a_file_that_is_removed_moved_truncated_or_edited_loses_no_later_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let letters = open(dir.path()).unwrap();
    let copy = dir.path().join("copy");
    let underneath: [(&str, &dyn Fn() -> io::Result<()>); 5] = [
        ("removed", &|| fs::remove_file(&path)),
        ("moved", &|| fs::rename(&path, dir.path().join("away"))),
        ("replaced by a copy", &|| fs::copy(&path, &copy).and_then(|_| fs::rename(&copy, &path))),
        ("emptied", &|| File::create(&path).map(drop)),
        ("half a line added", &|| OpenOptions::new().append(true).open(&path)?.write_all(b"{\"v\":")),
    ];
    for (what, act) in underneath {
        letters.append(&[record(1)]).unwrap();
        act().unwrap();
        letters.append(&[record(2)]).unwrap();
        assert_eq!(readable(dir.path()).last(), Some(&record(2)), "{what}");
    }
}

#[test]
fn a_write_to_a_file_that_was_removed_meanwhile_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let journal = journal::Journal::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(journal.append([lines(&[record(1)]).as_slice()]).unwrap().is_none());
}
