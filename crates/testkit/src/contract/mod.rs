//! What every implementation of the ports must do: each promise a function over a [`Bench`].
//!
//! An implementation mounts them all with [`contract!`](crate::contract!), giving it a function that makes a bench.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a contract is a test: it fails by panicking")]

pub mod bench;
pub mod conditions;
pub mod credits;
pub mod directory;
pub mod files;
pub mod groups;
pub mod identity;
pub mod ledger;
pub mod lists;
pub mod narrowed;
pub mod packages;
pub mod parents;
pub mod policy_sets;
pub mod pool;
pub mod registry;
pub mod removal;
pub mod requests;
pub mod revocation;
pub mod shares;
pub mod signing;
pub mod templates;
pub mod tokens;
pub mod usage;
pub mod workspaces;

pub use bench::{Bench, Tenant};

/// Lists promises as tests of the implementation whose benches the function makes.
#[macro_export]
macro_rules! promises {
    ($bench:path; $($module:ident: $($name:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $name() {
                let bench = $bench().await;
                $crate::contract::$module::$name(&bench).await;
            })+
        })+
    };
}

/// Mounts the whole contract on an implementation. `$bench` is the absolute path of an `async fn() -> Bench`.
#[macro_export]
macro_rules! contract {
    ($bench:path) => {
        $crate::promises! { $bench;
            tokens:
                an_unknown_token_is_refused,
                a_new_token_works_at_once_even_if_it_was_tried_before,
                an_expired_token_is_refused_from_its_last_instant_on,
                a_revoked_token_is_refused_at_once_and_its_credentials_end,
                a_vend_that_a_revocation_overtakes_opens_nothing,
                a_change_is_seen_however_many_look_meanwhile,
                a_token_proves_its_own_caller,
                tokens_are_listed_without_their_text,
                what_a_token_makes_ends_no_later_than_it_does,
                what_a_token_made_is_found,
                a_token_that_ends_earlier_takes_along_what_it_made,
                a_token_that_has_ended_makes_nothing;
            registry:
                names_are_taken_once,
                a_stores_settings_read_back_and_their_changes_are_counted,
                what_is_missing_is_not_found,
                what_does_not_fit_is_refused,
                lists_are_in_order_of_names,
                a_caller_is_made_once_and_found_again,
                a_suspended_caller_is_refused_at_once_until_it_is_activated,
                a_removed_caller_has_nothing_and_its_name_is_free,
                a_removed_grants_name_is_free_again;
            removal:
                whatever_is_there_is_planned_refused_and_removed,
                what_was_vended_ends_with_what_it_was_vended_for,
                what_is_made_anew_has_nothing_of_what_was_removed,
                what_is_said_of_a_dataset_is_changed_in_every_field,
                the_last_token_of_an_operator_stays,
                of_the_last_two_tokens_of_operators_one_stays_whoever_ends_them_at_once,
                a_narrowed_grant_ends_what_has_more_than_it_gives,
                what_is_opened_while_its_grant_goes_ends_with_it,
                a_token_whose_end_is_changed_ends_then;
            directory:
                a_new_grant_opens_at_once,
                a_removed_grant_opens_nothing_at_once,
                a_suspended_account_is_refused_at_once,
                a_changed_price_and_storage_are_seen_at_once,
                an_accounts_own_quota_is_seen_at_once,
                a_grant_begins_and_ends_on_time,
                datasets_are_seen_at_once,
                an_unknown_account_is_not_found;
            ledger:
                a_lease_reads_back_as_it_was_opened,
                a_lease_tells_the_address_that_asked,
                leases_are_listed_newest_first_and_page_by_page,
                leases_are_listed_by_whose_they_are_and_whether_they_live,
                a_void_lease_is_recorded_once,
                a_lease_tells_how_the_store_knows_its_credential,
                a_vend_whose_issuer_fails_is_void_and_costs_nothing,
                a_long_scope_is_kept_with_its_lease,
                an_unknown_lease_is_absent,
                the_ledger_verifies_after_many_leases;
            lists:
                grants_are_listed_by_what_is_asked_for_and_page_by_page,
                callers_are_listed_page_by_page,
                tokens_are_listed_by_what_is_asked_for_and_page_by_page,
                leases_are_listed_by_token_grant_bucket_and_time;
            credits:
                credits_are_never_overdrawn,
                an_account_without_credits_is_told_what_it_lacks,
                what_is_free_needs_no_credits,
                a_void_lease_gives_its_credits_back_once,
                credits_are_summed_by_day_without_void_leases,
                an_unknown_account_has_no_credits;
            revocation:
                a_revoked_lease_is_ended_alone,
                a_token_a_caller_and_an_account_end_what_they_vended_before,
                a_store_ends_what_is_for_it,
                a_grant_ends_what_was_vended_under_it,
                what_was_asked_for_on_behalf_of_another_ends_with_who_asked,
                what_was_vended_until_a_revocation_takes_effect_ends_with_it,
                a_removed_grant_ends_its_credentials_when_told,
                what_is_revoked_twice_was_ended_once,
                an_unknown_thing_cannot_be_revoked;
            narrowed:
                what_is_narrowed_ends_with_what_it_is_narrowed_from;
            policy_sets:
                what_is_applied_is_there_whole_and_ends_what_it_takes_away,
                what_cannot_be_applied_changes_nothing,
                things_are_put_into_a_set_and_out_of_it,
                groups_and_identity_providers_are_applied_with_what_they_end,
                leases_are_kept_where_that_is_said;
            usage:
                a_request_is_counted_as_soon_as_it_is_asked_for,
                requests_are_filtered_by_token_and_origin,
                refusals_are_summed_by_hour_and_reason,
                vends_are_counted_by_hour,
                what_goes_over_the_endpoint_is_summed_by_day_and_caller,
                the_use_of_a_credential_is_kept,
                days_follow_the_zone_and_cover_the_period,
                an_endless_period_is_refused;
            workspaces:
                a_workspace_is_made_with_the_grants_that_open_it,
                a_workspace_that_cannot_be_made_leaves_nothing,
                one_workspace_of_an_account_is_the_default,
                a_removed_workspace_takes_its_grants_and_projects_with_it,
                a_removed_workspaces_credentials_may_live_on,
                projects_are_made_once_and_listed_in_order;
            identity:
                a_provider_reads_back_and_is_there_once,
                a_session_proves_the_caller_that_its_rule_names,
                a_token_never_becomes_a_caller_that_was_not_made_for_its_rule,
                what_a_changed_rule_let_in_ends_and_may_come_in_by_what_is_so_now,
                a_removed_provider_takes_its_rules_and_sessions_with_it,
                sessions_are_ended_by_whose_they_are_and_older_tokens_with_them,
                a_token_is_exchanged_for_ours_as_long_as_it_was_not_ended;
            signing:
                a_signing_key_reads_back_and_goes_when_it_is_over,
                a_signing_key_is_made_once_where_two_make_it,
                a_withdrawn_signing_key_is_gone_at_once;
            groups:
                a_group_opens_for_its_members_alone,
                a_session_is_a_member_by_what_its_token_claims,
                a_removed_group_takes_its_grants_with_it,
                what_does_not_belong_to_a_group_is_refused;
            requests:
                what_is_approved_is_what_was_asked_for_and_ends,
                a_request_lies_wholly_inside_one_rule,
                only_an_approver_of_that_moment_decides,
                who_made_a_token_of_the_other_does_not_decide,
                a_request_waits_for_a_day_and_there_are_only_so_many,
                a_removed_rule_cancels_what_waits_under_it,
                what_does_not_belong_to_a_rule_is_refused;
            conditions:
                conditions_are_kept_and_narrow_what_is_open;
            templates:
                a_template_is_kept_and_opens_to_each_its_own,
                a_renamed_caller_loses_what_was_filled_in_with_its_name;
            packages:
                a_blob_is_kept_for_its_account_alone,
                an_upload_is_ended_once_by_who_began_it,
                uploads_that_are_never_ended_do_not_pile_up,
                a_manifest_is_found_by_tag_and_by_digest;
            shares:
                names_are_taken_once_in_whatever_case,
                what_does_not_belong_together_is_refused,
                a_recipient_sees_what_it_was_given_and_nothing_else,
                grants_follow_the_tables_and_the_recipients,
                a_shares_grants_open_nothing_but_what_is_asked_of_the_share,
                tables_are_never_opened_together,
                what_is_taken_back_ends_its_credentials_when_told,
                a_removed_share_leaves_nothing,
                a_changed_recipient_keeps_one_grant_for_each_table,
                a_link_is_good_for_one_token,
                a_link_of_a_maker_that_was_revoked_is_good_for_nothing,
                a_token_is_let_end_earlier_never_later;
        }
    };
}
