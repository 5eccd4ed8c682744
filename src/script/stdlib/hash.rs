//! `hash`: digests in lower-case hexadecimal.

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use mlua::{Function, Lua, LuaString, Table, Value};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::encode::hex_encode;
use super::native::{Raise, function, text};

pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let library = lua.create_table()?;
    library.set("md5", digest(lua, |text| Md5::digest(text).to_vec())?)?;
    library.set("sha1", digest(lua, |text| Sha1::digest(text).to_vec())?)?;
    library.set("sha256", digest(lua, |text| Sha256::digest(text).to_vec())?)?;
    library.set("hmac_sha1", keyed_digest(lua, hmac_sha1)?)?;
    library.set("hmac_sha256", keyed_digest(lua, hmac_sha256)?)?;
    globals.set("hash", library)
}

fn digest(lua: &Lua, digest: fn(&[u8]) -> Vec<u8>) -> mlua::Result<Function> {
    function(lua, move |lua, value: Value| -> Result<LuaString, Raise> {
        let value = text(lua, 1, value)?;
        Ok(lua.create_string(hex_encode(&digest(&value.as_bytes())))?)
    })
}

fn keyed_digest(lua: &Lua, digest: fn(&[u8], &[u8]) -> Vec<u8>) -> mlua::Result<Function> {
    function(lua, move |lua, (key, value): (Value, Value)| -> Result<LuaString, Raise> {
        let (key, value) = (text(lua, 1, key)?, text(lua, 2, value)?);
        Ok(lua.create_string(hex_encode(&digest(&key.as_bytes(), &value.as_bytes())))?)
    })
}

fn hmac_sha1(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(value);
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha256(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(value);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use crate::script::stdlib::tests::check;

    #[test]
    fn digests_match_the_test_vectors_of_their_standards() {
        // RFC 1321 A.5, FIPS 180-2 appendices A.1 and B.1.
        check("assert(hash.md5('abc') == '900150983cd24fb0d6963f7d28e17f72')");
        check("assert(hash.sha1('abc') == 'a9993e364706816aba3e25717850c26c9cd0d89d')");
        check("assert(hash.sha256('abc') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')");
    }

    #[test]
    fn keyed_digests_match_the_test_vectors_of_their_standards() {
        // RFC 2202 section 3 case 2, RFC 4231 section 4.3.
        let text = "'Jefe', 'what do ya want for nothing?'";
        check(&format!("assert(hash.hmac_sha1({text}) == 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')"));
        check(&format!(
            "assert(hash.hmac_sha256({text}) == '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')"
        ));
    }

    #[test]
    fn a_number_is_hashed_as_its_text() {
        check("assert(hash.md5(12) == hash.md5('12'))");
    }
}
