//! The command line as a shell sees it, against a server that answers what the test says.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod creds;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod help;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod refusals;

const TOKEN: &str = "vkt_0000000000000000000000000000000000000000000_abcdef";

fn problem(status: u16, code: &str, detail: &str) -> String {
    format!(
        r#"{{"type":"urn:valetkey:problem:{code}","title":"T","status":{status},"detail":"{detail}","code":"{code}","request_id":"req_1"}}"#
    )
}

fn credential(expires: &str, number: usize) -> String {
    format!(
        r#"{{"lease_id":"lse_{number}","access_key_id":"VKID{number}","secret_access_key":"s3cr'et","session_token":"sess/tok+","expiration":"{expires}","endpoint_url":"http://127.0.0.1:7071","region":"auto","bucket":"lake","prefixes":["flights/daily"],"objects":[],"raw_prefixes":[],"whole_bucket":false,"access":"read","actions":["get-object"],"grants":["grt_1"],"cuts":[],"revocation":"immediate"}}"#
    )
}
