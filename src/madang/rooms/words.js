/** The texts of who takes part, English and Korean side by side. `{name}` is filled in. */

/** @type {Record<string, [en: string, ko: string]>} */
export const WORDS = {
  language: ['한국어', 'English'],
  languageLabel: ['한국어로 보기', 'Switch to English'],
  save: ['Save', '저장'], again: ['Try again', '다시 시도'], discard: ['Discard', '지우기'],
  you: ['You', '나'], host: ['Host', '진행자'], anonymous: ['Anonymous', '익명'],
  loading: ['Opening the room', '방을 여는 중이에요'],

  nickname: ['Nickname', '닉네임'], nicknameHint: ['Up to 40 characters. Everybody in the room sees it.', '40자까지. 방에 있는 모두에게 보여요.'],
  join: ['Join', '입장하기'], joining: ['Joining…', '들어가는 중…'],
  nicknameEmpty: ['Choose a nickname first.', '닉네임을 먼저 정해 주세요.'],
  nicknameTaken: ['Somebody had that name: you are “{name}”.', '같은 이름이 있어서 “{name}”(으)로 들어왔어요.'],
  rename: ['Change nickname', '닉네임 바꾸기'], youAre: ['You are {name}', '내 닉네임: {name}'],
  hereOne: ['{n} person here', '{n}명 참여 중'], hereMany: ['{n} people here', '{n}명 참여 중'],

  notFound: ['There is no such room', '그런 방이 없어요'],
  notFoundText: ['Check the code: the room may have ended, or a letter may be wrong.', '코드를 다시 확인해 주세요. 방이 끝났거나 코드가 틀렸을 수 있어요.'],
  otherCode: ['Type another code', '다른 코드 입력'],
  kicked: ['The host has removed you from the room', '진행자가 방에서 내보냈어요'], kickedText: ['You may join again.', '다시 들어올 수 있어요.'], joinAgain: ['Join again', '다시 들어가기'],
  banned: ['You can no longer take part in this room', '이 방에 더는 참여할 수 없어요'],
  seatGone: ['Your seat is no longer there', '자리가 사라졌어요'], seatGoneText: ['Join once more to go on.', '다시 들어오면 계속할 수 있어요.'],
  busy: ['Many people are joining. Trying again in {s} s…', '지금 많은 분이 들어오고 있어요. {s}초 뒤 다시 시도할게요…'],
  full: ['The room is full.', '방이 가득 찼어요.'],
  noAnswer: ['No answer from the server. Check your connection.', '서버에서 답이 없어요. 인터넷 연결을 확인해 주세요.'],

  live: ['Connected', '연결됨'], connecting: ['Connecting…', '연결하는 중…'],
  lost: ['Connection lost', '연결이 끊겼어요'], lostKept: ['Connection lost. What you write is kept and sent once it is back.', '연결이 끊겼어요. 쓴 내용은 보관했다가 연결되면 보낼게요.'],
  retryIn: ['Again in {s} s', '{s}초 뒤 다시'], retryNow: ['Connect now', '지금 연결'], back: ['Connected again', '다시 연결됐어요'],

  sections: ['Parts of the room', '방 메뉴'], questions: ['Questions', '질문'], chat: ['Chat', '채팅'], polls: ['Polls', '투표'],
  paused: ['The host has paused the room.', '진행자가 잠시 멈췄어요.'], ended: ['The room has ended. You can still read everything.', '방이 끝났어요. 내용은 계속 볼 수 있어요.'],
  nowLive: ['Now being answered', '지금 답변 중'], announceLive: ['Now being answered: {text}', '지금 답변 중인 질문: {text}'],
  announcePoll: ['A poll is open: {text}', '투표가 열렸어요: {text}'], pollOpen: ['A poll is open', '투표가 열렸어요'], takePart: ['Vote', '투표하기'],

  sort: ['Order', '정렬'], top: ['Most votes', '공감순'], new: ['Newest', '최신순'],
  noQuestions: ['No questions yet', '아직 질문이 없어요'], noQuestionsText: ['Ask the first one. The others can vote for it.', '첫 질문을 남겨 보세요. 다른 분들이 공감할 수 있어요.'],
  onlyHost: ['Questions go to the host only.', '질문은 진행자에게만 보여요.'], onlyHostText: ['You see your own here.', '여기에는 내가 한 질문만 보여요.'],
  ask: ['Ask', '질문하기'], askPlaceholder: ['Ask a question', '질문을 입력하세요'], askLabel: ['Your question', '내 질문'], askAnonymously: ['Ask anonymously', '익명으로 질문'],
  needsApproval: ['The host looks at questions first.', '질문은 진행자 확인 뒤에 보여요.'],
  voteFor: ['Vote for “{text}”', '“{text}”에 공감'], votesOne: ['{n} vote', '공감 {n}'], votesMany: ['{n} votes', '공감 {n}'],
  statePending: ['Waiting for approval', '승인 대기'], stateLive: ['Now being answered', '답변 중'], stateAnswered: ['Answered', '답변 완료'], stateDismissed: ['Dismissed', '제외됨'],
  mine: ['Yours', '내 질문'], onTheWay: ['On its way', '보내는 중'],

  noMessages: ['Nobody has written yet', '아직 채팅이 없어요'], noMessagesText: ['Say hello to everybody here.', '함께하는 분들께 인사해 보세요.'],
  write: ['Message', '메시지'], writePlaceholder: ['Write to everybody', '모두에게 한마디'], send: ['Send', '보내기'],
  chatOff: ['The host has turned the chat off.', '진행자가 채팅을 껐어요.'], muted: ['The host has muted you. You can read on.', '진행자가 내 글쓰기를 잠시 막았어요. 읽기는 할 수 있어요.'],
  slow: ['Slow mode: next message in {s} s', '느린 채팅: {s}초 뒤에 보낼 수 있어요'],
  typingOne: ['{names} is typing', '{names}님이 입력 중'], typingMany: ['{names} are typing', '{names}님이 입력 중'], typingCrowd: ['Several people are typing', '여러 명이 입력 중'],
  unreadOne: ['{n} new', '새 글 {n}'], unreadMany: ['{n} new', '새 글 {n}'],
  sending: ['Sending', '보내는 중'], waiting: ['Waits for the connection', '연결되면 보낼게요'], failed: ['Not sent: {why}', '보내지 못했어요: {why}'],

  noPolls: ['No polls yet', '아직 투표가 없어요'], noPollsText: ['When the host opens one, it appears here.', '진행자가 투표를 열면 여기에 나타나요.'],
  kind_single: ['Choose one', '하나만 선택'], kind_multiple: ['Choose any number', '여러 개 선택 가능'], kind_cloud: ['Answer in a word', '한 단어로 답하기'],
  vote: ['Vote', '투표하기'], changeVote: ['Change my vote', '다시 투표하기'], voteCounted: ['Your vote counts. Thank you!', '투표했어요. 고마워요!'],
  word: ['Your word', '내 단어'], wordsHint: ['Up to {n}, with commas between', '쉼표로 나누어 {n}개까지'], addWord: ['Send', '보내기'], pollClosed: ['Closed', '마감'], pollRunning: ['Open', '진행 중'],
  votersOne: ['{n} person voted', '{n}명 투표'], votersMany: ['{n} people voted', '{n}명 투표'], results: ['Results', '결과'], yourChoice: ['your choice', '내 선택'],
  noWords: ['No words yet', '아직 단어가 없어요'],

  errorEmpty: ['Write something first.', '내용을 입력해 주세요.'], errorLong: ['That is too long.', '내용이 너무 길어요.'], errorRate: ['That was a little fast. Wait a moment.', '조금 빨라요. 잠시 뒤에 다시 해 주세요.'],
  errorWords: ['The room does not allow a word in it.', '쓸 수 없는 단어가 들어 있어요.'], errorNotAllowed: ['That is not possible here.', '여기서는 할 수 없어요.'],
  errorNickname: ['This nickname cannot be used. Take another.', '쓸 수 없는 닉네임이에요. 다른 이름으로 해 주세요.'],
  errorCounted: ['A vote from this device or network is counted already.', '이 기기나 네트워크에서는 이미 투표했어요.'], errorClosed: ['It is closed already.', '이미 마감됐어요.'], errorOptions: ['Options must be different.', '선택지가 서로 달라야 해요.'],
  error: ['That did not work ({text}).', '처리하지 못했어요 ({text}).'],
};
