//! Groups as clients see them, and what clients ask of them.

use serde::Serialize;

use crate::chat::{Group, GroupAction, GroupMember, Role};

/// A group: its name, and its members with their roles.
#[derive(Serialize)]
pub struct GroupView<'a> {
    pub name: &'a str,
    /// Of two states the one with the greater version is newer.
    pub version: i64,
    pub members: Vec<RoleView<'a>>,
}

/// A member of a group.
#[derive(Serialize)]
pub struct RoleView<'a> {
    pub user: &'a str,
    pub role: &'static str,
}

impl<'a> GroupView<'a> {
    #[must_use]
    pub fn of(group: &'a Group) -> Self {
        GroupView {
            name: &group.name,
            version: group.version,
            members: group.members.iter().map(RoleView::of).collect(),
        }
    }
}

impl<'a> RoleView<'a> {
    fn of(member: &'a GroupMember) -> Self {
        RoleView {
            user: &member.user_id,
            role: member.role.as_str(),
        }
    }
}

/// Checks the name of a group.
///
/// # Errors
/// A text for the client.
pub fn name(name: Option<String>) -> Result<String, String> {
    let named = name.filter(|name| !name.trim().is_empty());
    named.ok_or_else(|| "a group needs a name".to_owned())
}

/// Checks the users who are to become members.
///
/// # Errors
/// A text for the client.
pub fn users(members: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let named = |users: &Vec<String>| !users.is_empty() && users.iter().all(|it| !it.is_empty());
    members
        .filter(named)
        .ok_or_else(|| "members must name users".to_owned())
}

/// Reads a change of a member's role.
///
/// # Errors
/// A text for the client.
pub fn assigning(member: Option<String>, role: Option<&str>) -> Result<GroupAction, String> {
    let role = role.and_then(Role::parse);
    let role = role.ok_or_else(|| "role must be owner or member".to_owned())?;
    Ok(GroupAction::Assign(user(member)?, role))
}

/// Checks the member that a request is about.
///
/// # Errors
/// A text for the client.
pub fn user(member: Option<String>) -> Result<String, String> {
    let named = member.filter(|user| !user.is_empty());
    named.ok_or_else(|| "member must name a user".to_owned())
}

/// Most bytes of a key under which a group is made once.
const KEY_MAX: usize = 64;

/// Checks the key under which a group is made once.
///
/// # Errors
/// A text for the client.
pub fn key(key: Option<String>) -> Result<Option<String>, String> {
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_MAX => {
            Err(format!("a key takes 1 to {KEY_MAX} bytes"))
        }
        key => Ok(key),
    }
}
