//! The chat on MariaDB and on MySQL: whose tables they are, what its rows are, and what happens
//! when the server goes away. Every test is run on both, in a database of its own.
//!
//! `CHATFERRY_TEST_MARIADB` and `CHATFERRY_TEST_MYSQL` name servers (`mysql://user:pw@host:port`, a
//! user that may create databases and users). Without them, and wherever a test stops the server,
//! private ones are started: from an installed MariaDB, and from the `mysqld` that
//! `CHATFERRY_TEST_MYSQLD` names (`tests/services/mysql` gets one). `CHATFERRY_TEST_PYTHON` names a
//! Python that has the reference's packages and mysqlclient, for the tests that need Django. What
//! is missing is said, and its tests are skipped.

pub mod database;
mod faults;
pub mod instance;
mod races;
mod rows;
mod sessions;
mod spellings;
mod tables;
mod ways;

/// Makes a test of each function for each kind of server.
macro_rules! on_both {
    ($($module:ident: $($name:ident),+;)+) => {
        mod mariadb {
            use super::instance::Flavour;
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$module::$name(Flavour::MariaDb).await;
            })+)+
        }
        mod real {
            use super::instance::Flavour;
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$module::$name(Flavour::MySql).await;
            })+)+
        }
    };
}

on_both! {
    tables:
        migrate_makes_djangos_tables_and_django_then_finds_nothing_to_do,
        tables_that_django_made_are_taken_as_they_are,
        many_processes_may_migrate_at_once,
        nothing_is_made_unasked,
        ids_of_either_kind_are_found_out_from_the_tables,
        what_is_missing_or_different_is_named_and_what_is_new_is_left_alone,
        tables_may_have_names_of_their_own_and_no_foreign_keys;
    rows:
        every_time_is_stored_and_read_to_the_microsecond,
        the_collation_tells_which_users_are_the_same,
        the_longest_ids_fit_and_spaces_that_are_too_many_are_cut_off,
        a_nul_and_emoji_are_kept,
        a_row_that_the_table_refuses_does_not_take_its_batch_with_it,
        a_text_longer_than_a_packet_is_the_callers_mistake,
        a_mark_raises_a_receipt_that_is_there_and_keeps_its_id_and_time,
        what_belongs_to_a_deleted_row_is_not_found_and_never_an_error,
        a_long_history_comes_whole_and_in_order,
        no_page_of_a_history_walks_through_those_before_it,
        long_messages_make_short_pages,
        the_newest_messages_of_several_are_read_together,
        what_is_read_across_conversations_is_the_same_everywhere,
        files_are_sent_with_messages,
        the_marks_of_the_newest_messages_are_found,
        nothing_is_read_without_an_index_of_djangos;
    spellings:
        another_spelling_of_a_user_is_refused_and_shown_nothing,
        exactly_the_ids_that_were_asked_for_come_first,
        of_two_spellings_at_once_one_has_the_conversation,
        a_receipt_of_another_spelling_is_neither_shown_nor_raised,
        check_warns_of_the_collation_and_an_exact_one_tells_everybody_apart;
    sessions:
        a_session_key_of_another_spelling_is_no_session,
        a_user_key_of_another_spelling_is_no_user;
    races:
        a_pair_opened_from_both_sides_on_two_servers_at_once_is_one_conversation,
        read_marks_at_once_on_two_servers_make_one_receipt_each_and_no_error,
        django_and_chatferry_write_together_and_both_see_every_row,
        a_message_under_an_id_of_its_clients_is_stored_once,
        groups_live_and_keep_their_rules_at_once,
        changes_and_receipts_of_messages_are_kept;
    faults:
        killed_connections_are_replaced_before_anybody_notices,
        without_the_server_everybody_hears_so_and_with_it_all_goes_on,
        a_server_that_may_only_be_read_is_read_and_comes_back_by_itself,
        a_table_that_stays_locked_costs_a_503_and_never_a_hanging_client,
        a_frozen_server_costs_a_503_and_is_used_again_when_it_thaws,
        a_full_disk_is_told_and_survived,
        a_commit_that_was_not_confirmed_is_looked_up_before_anything_is_said,
        crashes_under_load_lose_nothing_acknowledged_and_write_nothing_twice,
        connections_that_die_without_a_word_are_replaced;
    ways:
        a_socket_stands_where_django_projects_write_it,
        every_stage_of_tls_asks_for_more_than_the_one_before,
        a_certificate_that_is_its_own_authority_is_refused_with_what_to_do,
        a_server_without_tls_is_preferred_and_not_required_to_have_it,
        a_server_that_logs_statements_is_told_of_and_written_to_with_djangos_isolation_level,
        tables_of_three_bytes_refuse_what_they_cannot_hold,
        few_connections_of_a_user_are_shared,
        first_words_that_the_server_refuses_are_told;
}
