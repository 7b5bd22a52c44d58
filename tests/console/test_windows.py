"""Pure modules of the console, run in a browser: a timeline that ends in the past, what a session
has besides, answers that stand in one place, and the words of a search."""

from __future__ import annotations

from typing import Any


async def test_a_timeline_may_end_in_the_past_and_goes_on_to_the_newest(run: Any) -> None:
    seen = await run(
        """const page = (messages, has_more) => ({ messages, has_more });
        const span = (from, to) =>
          Array.from({ length: to - from + 1 }, (_, n) => message(from + n));
        let state = convo.applySnapshot(convo.emptyState('alice'),
          [about(90, { last_message: message(90) })]);
        state = convo.applyPage(state, 'c', page(span(81, 90), true), 'latest');
        const told = [];
        const look = () => { const { ahead, hasMore } = state.conversations.get('c');
          const seqs = items(state);
          told.push([seqs[0], seqs.at(-1), seqs.length, ahead, hasMore]); };
        state = convo.applyPage(state, 'c', page(span(20, 30), true), 'around');
        look();
        // What comes meanwhile is no line of it: it would stand beside a hole.
        state = convo.applyEvent(state, fresh(91));
        look();
        state = convo.applyPage(state, 'c', page(span(31, 60), true), 'newer');
        look();
        const edited = { type: 'message.edited', conversation_id: 'c', message_id: 'm61', seq: 92,
          cursor: 192, data: message(61, { content: 'mended' }) };
        const since = [edited, fresh(93)];
        for (const event of since) state = convo.applyEvent(state, event);
        state = convo.applyPage(state, 'c', page(span(61, 91), false), 'newer', since);
        look();
        state = convo.applyPage(state, 'c', page(span(2, 19), false), 'older');
        look();
        const mended = state.conversations.get('c').items.find((item) => item.id === 'm61');
        return [told, mended.message.content];"""
    )
    assert seen == [
        [
            [20, 30, 11, True, True],
            [20, 30, 11, True, True],
            [20, 60, 41, True, True],
            [20, 93, 73, False, True],
            [2, 93, 91, False, False],
        ],
        "mended",
    ]


async def test_the_latest_page_ends_every_look_into_the_past(run: Any) -> None:
    assert await run(
        """let state = convo.applySnapshot(convo.emptyState('alice'),
          [about(90, { last_message: message(90) })]);
        const page = (messages) => ({ messages, has_more: true });
        state = convo.applyPage(state, 'c', page([message(20)]), 'around');
        state = convo.applyPage(state, 'c', page([message(89), message(90)]), 'latest');
        return [items(state), state.conversations.get('c').ahead];"""
    ) == [[89, 90], False]


async def test_who_answers_and_what_counts_follow_the_events(run: Any) -> None:
    assert await run(
        """const event = (type, seq, more) => ({ type, conversation_id: 'c', seq, cursor: 100 + seq,
          ...more });
        let state = convo.applySnapshot(convo.emptyState('alice'), [about(5, { kind: 'agent' })]);
        const told = [];
        const look = () => { const { handler, choices } = state.conversations.get('c').own;
          told.push([handler, choices]); };
        const session = { handler: null, choices: { q: 'a1' }, last_seq: 6,
          agent: { user_id: 'agent:echo' } };
        const early = event('handover', 6, { to: 'bob', by: 'bob' });
        const late = event('handover', 7, { to: 7, by: 7 });
        for (const one of [early, late]) state = convo.applyEvent(state, one);
        state = convo.applyOwn(state, 'c', session, [early, late]);
        look();
        state = convo.applyEvent(state, event('participant.left', 8, { user_id: 7, by: 'alice' }));
        look();
        state = convo.applyEvent(state, event('message.new', 9, { data: message(9, {
          reply_to_id: 'q', message_type: 'stream',
          metadata: { alternative_of: 'a1', status: 'streaming' } }) }));
        look();
        state = convo.applyEvent(state, event('run.chosen', 10, { question_id: 'q',
          message_id: 'a1' }));
        state = convo.applyEvent(state, event('handover', 11, { to: null, by: 'alice' }));
        look();
        return told;"""
    ) == [
        ["7", {"q": "a1"}],
        ["*", {"q": "a1"}],
        ["*", {"q": "m9"}],
        [None, {"q": "a1"}],
    ]


async def test_what_is_open_again_is_no_new_title(run: Any) -> None:
    assert await run(
        """const event = (seq, type, title, status) => ({ type, conversation_id: 'c', seq,
          cursor: 100 + seq, data: { title, status } });
        let state = loaded(1, [message(1)]);
        const events = [event(2, 'conversation.archived', 'Yard', 'archived'),
          event(3, 'conversation.updated', 'Yard', 'active'),
          event(4, 'conversation.updated', 'Yard', 'active'),
          event(5, 'conversation.updated', 'Garden', 'active')];
        for (const one of events) state = convo.applyEvent(state, one);
        // A page that was read meanwhile takes no line away, and adds none.
        state = convo.applyPage(state, 'c', { messages: [message(1)], has_more: false }, 'latest',
          events);
        return state.conversations.get('c').items.filter((item) => item.event)
          .map((item) => [item.seq, item.event.type, convo.reopened(item.event)]);"""
    ) == [
        [2, "conversation.archived", False],
        [3, "conversation.updated", True],
        [5, "conversation.updated", False],
    ]


async def test_answers_to_one_question_stand_in_one_place(run: Any) -> None:
    assert await run(
        """const answer = (seq, more = {}) => ({ seq, id: `m${seq}`, message: message(seq,
          { message_type: 'stream', reply_to_id: 'm1', metadata: {}, ...more }) });
        const other = (seq, more) => answer(seq, { metadata: { alternative_of: 'm2' }, ...more });
        const all = [{ seq: 1, id: 'm1', message: message(1) }, answer(2), answer(3), other(4),
          other(5), other(6, { deleted_at: 'D' })];
        const look = (choices) => {
          const { key, members, counts } = groupsOf(all, choices).get('m4');
          return [key, members.map((one) => one.id).join(), counts]; };
        return [look(), look({ m1: 'm2' }), look({ m1: 'm6' }), [...groupsOf(all).keys()].join(),
          groupsOf(all.slice(0, 3)).size];"""
    ) == [
        ["m2", "m2,m4,m5", "m5"],
        ["m2", "m2,m4,m5", "m2"],
        ["m2", "m2,m4,m5", "m5"],
        "m2,m4,m5,m6",
        0,
    ]


async def test_what_was_found_is_in_sight_and_no_character_cut(run: Any) -> None:
    assert await run(
        """const shown = (text, ranges, offset = 0) => search.partsOf({ field: 'content', text,
          ranges, offset }).map((one) => (one.found ? `[${one.text}]` : one.text)).join('');
        const far = 'some words that stand before the plan and after';
        return [shown('지난 회의록', [[3, 5]]), shown(far, [[33, 37]]), shown('<b>', [[1, 2]], 9),
          shown(`${'🌊'.repeat(20)}x`, [[40, 41]]), shown(`${'🌊'.repeat(20)}ax`, [[41, 42]]),
          shown('a b a', [[0, 1], [4, 5]])];"""
    ) == [
        "지난 [회의]록",
        "…that stand before the [plan] and after",
        "…<[b]>",
        f"…{'🌊' * 12}[x]",
        f"…{'🌊' * 11}a[x]",
        "[a] b [a]",
    ]


async def test_a_query_is_not_sent_while_its_last_word_is_half(run: Any) -> None:
    half = ["from:", "a in:", "in:01a1", 'the "plan', "after:", "before:2026-01", "has:f", "a -"]
    whole = [
        "from:ann",
        'the "plan"',
        "before:2026-01-31",
        "has:file",
        "회의",
        "a -b",
        "example:",
        "from:ann ",
    ]
    assert await run(f"return {[*half, *whole]}.map(search.unfinished);") == [
        *(True for _ in half),
        *(False for _ in whole),
    ]
    assert await run(
        """return [search.withLastWord('plan fr', 'from:'), search.withLastWord('', 'in:'),
          search.placesIn('a in:01A1fc3e-53fe-7ab1-97c8-0fb8223c689e xin:no')];"""
    ) == ["plan from:", "in:", ["01a1fc3e-53fe-7ab1-97c8-0fb8223c689e"]]


async def test_what_is_gone_is_no_result_any_more(run: Any) -> None:
    assert await run(
        """const rest = { call: async ({ query }) => ({ ok: true, status: 200, body: query.cursor
          ? { results: [hit('d', 'y')], next: null }
          : { results: [hit('a', 'x'), hit('b', 'x'), hit('d', 'y')], next: 'more' } }) };
        const hit = (id, conversation_id) => ({ id, conversation_id });
        const found = new search.Search(rest, () => {});
        const ids = () => found.results.map((one) => one.id).join('');
        const told = [];
        await found.find('word'); told.push(ids());
        await found.more(); told.push(ids());
        found.heard({ type: 'message.deleted', message_id: 'a' }, 'me'); told.push(ids());
        found.heard({ type: 'participant.left', user_id: 'you', conversation_id: 'y' }, 'me');
        told.push(ids());
        found.heard({ type: 'participant.left', user_id: 'me', conversation_id: 'y' }, 'me');
        told.push(ids());
        found.clear(); told.push(ids());
        return told;"""
    ) == ["abd", "abd", "bd", "bd", "b", ""]
