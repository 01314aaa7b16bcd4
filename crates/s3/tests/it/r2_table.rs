//! The four permissions, operation by operation, inside and outside: for a parent, and for what is signed with one.

use valetkey_core::nouns::parent::Permission;

use crate::r2::{PARENT, SECRET, add, claims, own, parent, signed, whole};
use crate::rig::{Ask, BUCKET, Credential, OTHER_BUCKET, Rig};

/// What is asked for: its name, which permissions allow it (object read, object read-write, admin read, admin read-write),
/// and the answer where it is allowed.
const ROWS: &[(&str, [bool; 4], u16)] = &[
    ("get", [true, true, true, true], 200),
    ("head", [true, true, true, true], 200),
    ("list", [true, true, true, true], 200),
    ("list-v1", [true, true, true, true], 200),
    ("list-uploads", [true, true, true, true], 200),
    ("location", [true, true, true, true], 200),
    ("head-bucket", [true, true, true, true], 200),
    ("put", [false, true, false, true], 200),
    ("delete", [false, true, false, true], 204),
    ("delete-many", [false, true, false, true], 200),
    ("copy", [false, true, false, true], 200),
    ("multipart", [false, true, false, true], 200),
    ("part", [false, true, false, true], 404),
    ("part-copy", [false, true, false, true], 404),
    ("complete", [false, true, false, true], 404),
    ("abort", [false, true, false, true], 404),
    ("get-cors", [false, false, true, true], 404),
    ("get-lifecycle", [false, false, true, true], 404),
    ("get-encryption", [false, false, true, true], 404),
    ("put-cors", [false, false, false, true], 200),
    ("put-lifecycle", [false, false, false, true], 501),
    ("delete-cors", [false, false, false, true], 204),
    ("list-buckets", [false; 4], 200),
    ("delete-bucket", [false; 4], 204),
    ("policy", [false; 4], 200),
];

const PERMISSIONS: [Permission; 4] =
    [Permission::ObjectReadOnly, Permission::ObjectReadWrite, Permission::AdminReadOnly, Permission::AdminReadWrite];

const CORS: &str = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>\
                    </CORSRule></CORSConfiguration>";
const LIFECYCLE: &str = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix/></Filter><Expiration>\
                         <Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
/// An upload that there is not, in the form that uploads have.
const UPLOAD: &str = "00000000000000000000000000000000";

fn ask(rig: &Rig, what: &str, bucket: &str, directory: &str) -> Ask {
    let key = format!("/{bucket}/{directory}/k");
    let listed = format!("prefix={directory}%2F");
    match what {
        "get" => rig.ask("GET", &key),
        "head" => rig.ask("HEAD", &key),
        "list" => rig.ask("GET", &format!("/{bucket}?list-type=2&{listed}")),
        "list-v1" => rig.ask("GET", &format!("/{bucket}?{listed}")),
        "list-uploads" => rig.ask("GET", &format!("/{bucket}?uploads=&{listed}")),
        "location" => rig.ask("GET", &format!("/{bucket}?location=")),
        "head-bucket" => rig.ask("HEAD", &format!("/{bucket}")),
        "put" => rig.ask("PUT", &key).body("new"),
        "delete" => rig.ask("DELETE", &format!("{key}-gone")),
        "delete-many" => {
            let body = format!("<Delete><Object><Key>{directory}/k-gone</Key></Object></Delete>");
            rig.ask("POST", &format!("/{bucket}?delete=")).body(body)
        }
        "copy" => rig.ask("PUT", &format!("{key}-copy")).header("x-amz-copy-source", &key),
        "multipart" => rig.ask("POST", &format!("{key}?uploads=")),
        "part" => rig.ask("PUT", &format!("{key}?partNumber=1&uploadId={UPLOAD}")).body("x"),
        "part-copy" => {
            rig.ask("PUT", &format!("{key}?partNumber=1&uploadId={UPLOAD}")).header("x-amz-copy-source", &key)
        }
        "complete" => {
            let part = "<Part><PartNumber>1</PartNumber><ETag>\"0\"</ETag></Part>";
            let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            rig.ask("POST", &format!("{key}?uploadId={UPLOAD}")).body(body)
        }
        "abort" => rig.ask("DELETE", &format!("{key}?uploadId={UPLOAD}")),
        "get-cors" => rig.ask("GET", &format!("/{bucket}?cors=")),
        "get-lifecycle" => rig.ask("GET", &format!("/{bucket}?lifecycle=")),
        "get-encryption" => rig.ask("GET", &format!("/{bucket}?encryption=")),
        "put-cors" => rig.ask("PUT", &format!("/{bucket}?cors=")).body(CORS),
        "put-lifecycle" => rig.ask("PUT", &format!("/{bucket}?lifecycle=")).body(LIFECYCLE),
        "delete-cors" => rig.ask("DELETE", &format!("/{bucket}?cors=")),
        "list-buckets" => rig.ask("GET", "/"),
        "delete-bucket" => rig.ask("DELETE", &format!("/{bucket}")),
        "policy" => rig.ask("GET", &format!("/{bucket}?policy=")),
        other => panic!("{other}"),
    }
}

async fn filled() -> Rig {
    let rig = Rig::start().await;
    for bucket in [BUCKET, OTHER_BUCKET] {
        for directory in ["in", "out"] {
            rig.put(bucket, &format!("{directory}/k"), "bytes").await;
        }
    }
    rig
}

/// What is about the bucket and not about keys in it.
fn is_of_bucket(what: &str) -> bool {
    [
        "location",
        "head-bucket",
        "get-cors",
        "get-lifecycle",
        "get-encryption",
        "put-cors",
        "put-lifecycle",
        "delete-cors",
    ]
    .contains(&what)
}

async fn hold(rig: &Rig, credential: &Credential, permission: Permission, form: &str, paths: bool) {
    let at = PERMISSIONS.iter().position(|one| *one == permission).unwrap();
    for (what, allowed, status) in ROWS {
        for (bucket, directory) in [(BUCKET, "in"), (BUCKET, "out"), (OTHER_BUCKET, "in")] {
            let config = what.contains("cors") || what.contains("lifecycle") || what.contains("encryption");
            let inside = bucket == BUCKET && (!paths || directory == "in" || is_of_bucket(what));
            // A key that a bulk delete may not touch is refused in its answer.
            let listed = *what == "delete-many" && bucket == BUCKET && allowed[at];
            let answer = rig.send(ask(rig, what, bucket, directory), credential).await;
            let shown = format!("{form} {} {what} {bucket}/{directory}: {}", permission.as_str(), answer.text());
            if *what == "list-buckets" && form == "vended" {
                // It is no key in R2's form.
                assert_eq!(answer.all("Name"), [BUCKET], "{shown}");
            } else if listed {
                assert_eq!((answer.status, answer.all("Code").len()), (200, usize::from(!inside)), "{shown}");
            } else if inside && allowed[at] && !(paths && config) {
                assert_eq!(answer.status, *status, "{shown}");
            } else {
                let refused = if ["policy", "delete-bucket"].contains(what) { [403, 501] } else { [403, 403] };
                assert!(refused.contains(&answer.status), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn each_permission_allows_its_operations_and_no_others() {
    for permission in PERMISSIONS {
        let rig = filled().await;
        add(&rig, parent(PARENT, SECRET, vec![whole(BUCKET, permission)]));
        hold(&rig, &own(PARENT, SECRET), permission, "parent", false).await;
        // Cut by its parent.
        let child = signed(&claims(&rig, BUCKET, "admin-read-write", ""));
        hold(&rig, &child, permission, "child of a narrow parent", false).await;
        // Narrower than its parent.
        rig.parents.0.lock().unwrap().clear();
        add(&rig, parent(PARENT, SECRET, vec![whole(BUCKET, Permission::AdminReadWrite)]));
        let child = signed(&claims(&rig, BUCKET, permission.as_str(), ""));
        hold(&rig, &child, permission, "child", false).await;
        let paths = r#""paths":{"prefixPaths":["in/"],"objectPaths":[]},"#;
        let child = signed(&claims(&rig, BUCKET, permission.as_str(), paths));
        hold(&rig, &child, permission, "child with paths", true).await;
        // The same as a native credential, as the API vends it.
        let vended = rig.vend(valetkey_core::scope::Paths::Whole, permission.actions());
        hold(&rig, &vended, permission, "vended", false).await;
    }
}
