#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| forwarder_fuzz::syslog_message(input));
