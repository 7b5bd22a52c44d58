"""The console's pure modules, run in the browser they are written for, without its page."""

from __future__ import annotations

import json
from typing import Any

import pytest


async def test_an_event_counts_once(run: Any) -> None:
    result = await run(
        """let state = loaded(0, []);
        for (const seq of [1, 1, 2, 2, 1]) state = convo.applyEvent(state, fresh(seq));
        const { unread_count } = state.conversations.get('c').about;
        return [items(state), unread_count, state.cursor, [...state.stale]];"""
    )
    assert result == [[1, 2], 2, 102, []]


async def test_a_jump_marks_the_conversation_to_be_read_again(run: Any) -> None:
    assert await run("return [...convo.applyEvent(loaded(1, [message(1)]), fresh(5)).stale];") == [
        "c"
    ]


async def test_an_old_snapshot_and_the_events_since_equal_a_fresh_one(run: Any) -> None:
    old, new = await run(
        """const events = [
          fresh(2), { type: 'message.edited', conversation_id: 'c', message_id: 'm1', seq: 3,
            cursor: 103, data: message(1, { content: 'mended', edited_at: 'T' }) },
          { type: 'reaction.added', conversation_id: 'c', message_id: 'm2', user_id: 'alice',
            emoji: '👍', seq: 4, cursor: 104 },
          { type: 'message.deleted', conversation_id: 'c', message_id: 'm1', deleted_at: 'D',
            seq: 5, cursor: 105 },
          { type: 'message.read', conversation_id: 'c', message_id: 'm2', user_id: 'alice',
            seq: 6, cursor: 106 },
          { type: 'participant.left', conversation_id: 'c', user_id: 'bob', by: 'alice',
            seq: 7, cursor: 107 }];
        const old = convo.replay(loaded(1, [message(1)]), events);
        const last = message(2, { reactions: { '👍': ['alice'] } });
        const gone = message(1, { content: '', edited_at: 'T', deleted_at: 'D' });
        const now = about(7, { last_message: last, participants:
          [{ user_id: 'alice', role: 'admin', last_read_seq: 2 }] });
        const fresh_ = convo.applyPage(convo.applySnapshot(convo.emptyState('alice'), [now]), 'c',
          { messages: [gone, last], has_more: false }, 'latest');
        const view = (state) => {
          const entry = state.conversations.get('c');
          return [entry.seq, entry.items.filter((i) => i.message).map((i) => i.message),
            entry.about.participants, entry.about.unread_count, entry.about.last_seq];
        };
        return [view(old), view(fresh_)];"""
    )
    assert old == new


async def test_events_that_come_while_a_page_is_read_are_not_lost_or_undone(run: Any) -> None:
    contents = await run(
        """let state = loaded(2, [message(1), message(2)]);
        const edited = { type: 'message.edited', conversation_id: 'c', message_id: 'm2', seq: 3,
          cursor: 103, data: message(2, { content: 'mended' }) };
        const since = [edited, fresh(4)];
        for (const event of since) state = convo.applyEvent(state, event);
        const page = { messages: [message(1), message(2)], has_more: false };
        state = convo.applyPage(state, 'c', page, 'latest', since);
        state = convo.applySnapshot(state, [about(2)], since);
        return state.conversations.get('c').items.map((item) => item.message.content);"""
    )
    assert contents == ["text 1", "mended", "text 4"]


async def test_who_is_removed_sees_the_conversation_no_more(run: Any) -> None:
    assert await run(
        """const left = { type: 'participant.left', conversation_id: 'c', user_id: 'alice',
          by: 'bob', seq: 2, cursor: 102 };
        const state = convo.applyEvent(loaded(1, [message(1)]), left);
        return [state.conversations.size, convo.applyEvent(state, left).stale.size];"""
    ) == [0, 0]


async def test_ids_of_digits_are_the_same_as_numbers_and_as_text(run: Any) -> None:
    assert (
        await run(
            """const state = convo.applySnapshot(convo.emptyState('7'), [about(0)]);
        const mine = fresh(1, { data: message(1, { sender_id: 7 }) });
        return convo.applyEvent(state, mine).conversations.get('c').about.unread_count;"""
        )
        == 0
    )


async def test_close_codes_say_what_to_do(run: Any) -> None:
    actions = await run(
        "return [1001, 1006, 1008, 1009, 4001, 4008, 4009].map((c) => wire.closePolicy(c).action);"
    )
    assert actions == ["now", "backoff", "stop", "backoff", "stop", "now", "stop"]


async def test_backoff_grows_with_jitter_and_has_an_end(run: Any) -> None:
    low, high = await run(
        """const at = (random) => [0, 1, 2, 20].map((n) => wire.backoffDelay(n, () => random));
        return [at(0), at(1)];"""
    )
    assert low == [250, 500, 1000, 10000]
    assert high == [500, 1000, 2000, 20000]


async def test_replies_are_not_taken_for_events(run: Any) -> None:
    assert await run(
        """return ['message.new', 'message.sent', 'subscribed', 'task_interaction', 'resumed']
          .map((type) => wire.isEvent({ type, seq: 1, cursor: 2 }));"""
    ) == [True, False, False, True, False]


async def test_the_outbox_sends_again_only_what_may_be_lost(run: Any) -> None:
    assert await run(
        """const letter = (client_id, state) =>
          ({ client_id, conversation_id: 'c', content: 'x', state });
        const all = [letter('a', 'sending'), letter('b', 'failed'), letter('c', 'waiting')];
        const large = { ...letter('d', 'waiting'), content: '가'.repeat(22000) };
        return [box.afterLoss(all).map((one) => one.state), box.arrived(all, 'b').length,
          box.tooLarge(all[0]), box.tooLarge(large)];"""
    ) == [["waiting", "failed", "waiting"], 2, False, True]


async def test_forms_make_the_calls_of_the_contract(run: Any) -> None:
    call = await run(
        """const find = (id) => forms.ACTIONS.find((action) => action.id === id);
        const post = find('POST /conversations/:conversation_id/messages');
        const { values } = forms.readForm(post, { conversation_id: 'a/b', content: 'hi',
          idempotency_key: 'k', metadata: '{"x": 1}', message_type: '', reply_to_id: '' });
        return post.call(values);"""
    )
    assert call == {
        "method": "POST",
        "path": "api/v1/messenger/conversations/a%2Fb/messages",
        "headers": {"Idempotency-Key": "k"},
        "body": {"content": "hi", "metadata": {"x": 1}},
    }


async def test_an_answer_ends_in_the_place_where_it_began(run: Any) -> None:
    contents, last, unread = await run(
        """const answer = (status, content) => message(2, { message_type: 'stream', content,
          metadata: { status } });
        const ended = { type: 'run.ended', conversation_id: 'c', seq: 4, cursor: 104,
          message_id: 'm2', status: 'complete', data: answer('complete', 'whole') };
        const never = { ...ended, seq: 5, cursor: 105, message_id: 'm9', status: 'cancelled',
          data: null };
        const events = [fresh(2, { data: answer('streaming', '') }), fresh(3), ended, never];
        let state = convo.replay(loaded(1, [message(1)]), events);
        // A page that was read before its end, and comes after it.
        const page = { messages: [message(1), answer('streaming', 'who')], has_more: false };
        state = convo.applyPage(state, 'c', page, 'latest', events);
        const found = state.conversations.get('c');
        return [found.items.map((item) => item.message?.content ?? item.event.type),
          found.about.last_message.content, found.about.unread_count];"""
    )
    assert contents == ["text 1", "whole", "text 3", "run.ended"]
    assert (last, unread) == ("text 3", 2)


async def test_an_answer_is_put_together_by_offset_in_code_points(run: Any) -> None:
    assert await run(
        """const chunk = (offset, content) => ({ type: 'stream_chunk', offset, content });
        const all = (...frames) => frames.reduce(answers.afterFrame, answers.NOTHING_YET);
        const text = (...frames) => { const { text, length } = all(...frames);
          return [text, length]; };
        return [text(chunk(0, '🌊a'), chunk(2, '나')), text(chunk(0, '🌊🌊b'), chunk(1, '나')),
          answers.afterFrame(all(chunk(0, 'a')), chunk(2, 'c')),
          all({ type: 'stream_start' }).over, all({ type: 'stream_end' }).over];"""
    ) == [["🌊a나", 3], ["🌊나", 2], None, False, True]


async def test_a_step_told_again_is_the_same_step_further_on(run: Any) -> None:
    assert await run(
        """const step = (fields) => ({ type: 'run_step', message_id: 'm', ...fields });
        return [step({ step: 1, kind: 'tool_call', name: 'look', status: 'running' }),
          step({ step: 0, kind: 'thinking', content: 'I thi', offset: 0 }),
          step({ step: 0, content: 'nk', offset: 5, status: 'complete' }),
          step({ step: 1, status: 'complete', output: 3 }),
          step({ step: 2, content: 'lost', offset: 0 }),
          step({ step: 2, content: 'whole', offset: 0, so_far: true })]
          .reduce(answers.afterFrame, answers.NOTHING_YET).steps
          .map((one) => [one.name ?? one.kind ?? '', one.content ?? one.output, one.status ?? '']);
        """
    ) == [["thinking", "I think", "complete"], ["look", 3, "complete"], ["", "whole", ""]]


@pytest.mark.parametrize("end", ["\\n", "\\r\\n", "\\r"])
async def test_events_of_a_stream_wherever_it_is_cut(run: Any, end: str) -> None:
    script = f"""const sent = [': hello', 'id: a:1', 'data: {{"n":1}}', '', 'data:two',
          'data:  lines', '', 'retry: 5', '', 'id: a:2', 'data', '', ''].join('{end}');
        const cut = (at) => {{
          const lines = new EventLines();
          return [...lines.take(sent.slice(0, at)), ...lines.take(sent.slice(at))];
        }};
        return [...new Set([...sent].map((_, at) => JSON.stringify(cut(at))))];"""
    (every,) = await run(script)
    assert json.loads(every) == [
        {"id": "a:1", "data": '{"n":1}'},
        {"id": "a:1", "data": "two\n lines"},
        {"id": "a:2", "data": ""},
    ]
