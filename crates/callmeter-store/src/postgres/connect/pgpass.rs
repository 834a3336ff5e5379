//! The file `.pgpass`: which password belongs to which host, port, database and user.
//!
//! As libpq: one line each, `host:port:database:user:password`, `*` for any, `\` before `:` and `\` in a field;
//! a file that others may read is not used.

use std::path::Path;

/// Whom a password is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    /// The host; `localhost` for a socket in the default place.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
    /// Whether only a line counts that names the host: `*` does not say that the password is meant for it.
    pub(super) by_name: bool,
}

/// The password in `file` of a login, if there is one and the file is its owner's alone.
pub(super) fn password(file: &Path, login: Login<'_>) -> Option<String> {
    if !is_private(file) {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| password_of_line(line, login))
}

fn is_private(file: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(file) else {
        return false;
    };
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        tracing::warn!(
            target: "callmeter",
            "the password file {} is readable by others and not used; set its mode to 0600",
            file.display()
        );
        return false;
    }
    metadata.is_file()
}

fn password_of_line(line: &str, login: Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => fields.last_mut()?.extend(chars.next()),
            // The password is the rest, whatever colons it has.
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    let [host, port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let is = |field: &str, wanted: &str| field == "*" || field == wanted;
    let is_host = host == login.host || host == "*" && !login.by_name;
    (is_host
        && is(&port, &login.port.to_string())
        && is(&database, login.database)
        && is(&user, login.user))
    .then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login {
        host: "db",
        port: 5432,
        database: "shop",
        user: "me",
        by_name: false,
    };

    #[test]
    fn a_line_is_for_who_its_fields_name() {
        for (line, password) in [
            ("db:5432:shop:me:pw", Some("pw")),
            ("*:*:*:*:pw:with:colons", Some("pw:with:colons")),
            ("*:*:*:me:p\\:w\\\\", Some("p:w\\")),
            ("db:5433:shop:me:pw", None),
            ("#*:*:*:*:pw", None),
            ("db:5432:shop:me", None),
            ("", None),
        ] {
            assert_eq!(password_of_line(line, LOGIN).as_deref(), password, "{line}");
        }
        let by_name = Login {
            by_name: true,
            ..LOGIN
        };
        assert_eq!(password_of_line("*:5432:shop:me:pw", by_name), None);
        assert!(password_of_line("db:*:*:*:pw", by_name).is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".pgpass");
        std::fs::write(&file, "other:*:*:*:no\ndb:*:*:*:yes\n").unwrap();
        for (mode, found) in [(0o600, Some("yes")), (0o640, None)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(password(&file, LOGIN).as_deref(), found);
        }
    }
}
