/** The texts of hosts and of the big screen, English and Korean side by side; and their icons. */
import { addIcons } from './dom.js';
import { addWords } from './i18n.js';

addIcons({
  people: 'M7.500 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 16.500c0-3 2.500-5 5.500-5s5.500 2 5.500 5M13 4a3 3 0 0 1 0 5.500M15 12c2 .7 3 2.300 3 4.500',
  more: 'M5 10h.01M10 10h.01M15 10h.01',
  gear: 'M4 6h7M15 6h1M4 14h1M9 14h7M13 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM7 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  pause: 'M7 5v10M13 5v10',
  play: 'M6 4.500v11l9-5.500z',
  down: 'M10 4v9M6 9.500l4 4 4-4M4 16.500h12',
  plus: 'M10 4v12M4 10h12',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  screen: 'M3 4h14v9H3zM10 13v3M7 16.500h6',
  cross: 'M5 5l10 10M15 5 5 15',
});

addWords({
  cancel: ['Cancel', '취소'], code: ['Room code', '방 코드'],
  newTitle: ['Open a room', '방 열기'], newText: ['People join with a code and a nickname. No accounts.', '코드와 닉네임만으로 들어와요. 계정은 필요 없어요.'],
  title: ['Title', '제목'], titlePlaceholder: ['What is it about?', '어떤 자리인가요?'], titleEmpty: ['Give the room a title.', '방 제목을 정해 주세요.'],
  yourName: ['Your name', '내 이름'], yourNameHint: ['Development mode: any name will do.', '개발 모드: 아무 이름이나 쓸 수 있어요.'],
  token: ['Your token', '내 토큰'], tokenHint: ['Whoever runs this server gives you one (“madang token NAME”). It is not kept.', '서버를 운영하는 분이 드려요 (“madang token 이름”). 저장하지 않아요.'],
  badToken: ['The server does not accept this token.', '서버가 이 토큰을 받지 않아요.'],
  roomLanguage: ['Language of the room', '방 언어'], open: ['Open the room', '방 열기'], opening: ['Opening…', '여는 중…'],

  hostTitle: ['Host', '진행'], keyTitle: ['Host key', '진행자 키'], keyText: ['This browser does not host the room. Paste the host key to go on.', '이 브라우저에는 진행 권한이 없어요. 진행자 키를 붙여 넣어 주세요.'],
  keyWrong: ['This is not the key of this room.', '이 방의 키가 아니에요.'], goOn: ['Go on', '계속'], justTakePart: ['Just take part', '참가자로 들어가기'],
  copyKey: ['Copy the host key', '진행자 키 복사'], keyCopied: ['Copied. Whoever has it can do everything here.', '복사했어요. 이 키가 있으면 누구나 진행할 수 있으니 조심하세요.'], copyLink: ['Copy join link', '참여 링크 복사'], linkCopied: ['Copied.', '복사했어요.'],
  screen: ['Big screen', '큰 화면'], pause: ['Pause', '잠시 멈춤'], resume: ['Go on', '다시 시작'], end: ['End', '끝내기'], endSure: ['End for good?', '정말 끝낼까요?'], more: ['More', '더 보기'],
  exportCsv: ['Questions as CSV', '질문 CSV 저장'], exportJson: ['Everything as JSON', '전체 JSON 저장'],
  status_active: ['Open', '진행 중'], status_paused: ['Paused', '멈춤'], status_ended: ['Ended', '종료'],

  filter: ['Questions shown', '질문 보기'], filter_open: ['Open', '진행 중'], filter_pending: ['To approve', '승인 대기'], filter_answered: ['Answered', '답변 완료'], filter_dismissed: ['Dismissed', '제외됨'],
  noneOpenText: ['What people ask appears here at once.', '참가자의 질문이 바로 여기에 나타나요.'], nonePending: ['Nothing waits for you', '기다리는 질문이 없어요'], nonePendingText: ['New questions come here before the others see them.', '새 질문은 모두에게 보이기 전에 여기로 와요.'],
  noneAnswered: ['Nothing answered yet', '답변한 질문이 없어요'], noneAnsweredText: ['Mark a question as answered and it moves here.', '답변 완료로 표시하면 여기로 옮겨져요.'], noneDismissed: ['Nothing dismissed', '제외한 질문이 없어요'], noneDismissedText: ['What you dismiss is out of sight, not deleted.', '제외한 질문은 보이지 않지만 지워지지는 않아요.'],
  approve: ['Approve', '승인'], dismiss: ['Dismiss', '제외'], makeLive: ['Bring up', '화면에 띄우기'], markAnswered: ['Answered', '답변 완료'], takeDown: ['Take down', '내리기'], reopen: ['Open again', '다시 열기'],
  remove: ['Remove', '삭제'], removeSure: ['Remove for good?', '정말 삭제할까요?'], mute: ['Mute', '글쓰기 막기'], unmute: ['Unmute', '글쓰기 풀기'], kick: ['Send out', '내보내기'], kickSure: ['Send out?', '정말 내보낼까요?'], ban: ['Ban', '차단'], banSure: ['Ban for good?', '정말 차단할까요?'],
  toolsFor: ['More for “{text}”', '“{text}” 더 보기'],

  people: ['People', '참가자'], find: ['Find a name', '이름 찾기'], mutedTag: ['Muted', '글쓰기 막힘'], awayTag: ['Away', '나감'],
  nobody: ['Nobody is here yet', '아직 아무도 없어요'], nobodyText: ['Show the code, and people appear here.', '코드를 보여 주면 참가자가 여기에 나타나요.'],

  newPoll: ['New poll', '새 투표'], pollQuestion: ['Question', '물어볼 것'], pollKind: ['Kind', '종류'], single: ['One choice', '하나 선택'], multiple: ['Several choices', '여러 개 선택'], cloud: ['Word cloud', '워드 클라우드'],
  options: ['Options', '선택지'], option: ['Option {n}', '선택지 {n}'], addOption: ['Add an option', '선택지 추가'], removeOption: ['Remove option {n}', '선택지 {n} 지우기'], openPoll: ['Open the poll', '투표 열기'], closePoll: ['Close the poll', '투표 마감'],
  pollNeeds: ['A question and two options at least.', '질문과 선택지 두 개 이상이 필요해요.'], pollNeedsQuestion: ['Write the question first.', '질문을 먼저 적어 주세요.'],
  noPollsHostText: ['Ask everybody something: results move as they vote.', '모두에게 물어보세요. 투표하는 대로 결과가 움직여요.'],

  settings: ['Settings', '설정'], setVisible: ['Who sees questions', '질문 공개'], visible_all: ['Everybody', '모두에게'], visible_host: ['Only the host', '진행자에게만'],
  setApproval: ['Approve questions before others see them', '질문을 승인한 뒤에 공개'], setAnonymous: ['Questions may be anonymous', '익명 질문 허용'], setAnonymousHost: ['Anonymous to the host too', '진행자에게도 익명'],
  setChat: ['Chat', '채팅 사용'], setSlow: ['Slow mode', '느린 채팅'], slowOff: ['Off', '끔'], slowSeconds: ['One message in {n} s', '{n}초에 한 번'], setVotes: ['One vote per', '한 표의 기준'], per_seat: ['Participant', '참가자'], per_device: ['Device', '기기'], per_address: ['Network address', '네트워크 주소'],
  setWords: ['Words that are refused', '막을 단어'], setWordsHint: ['One in a line.', '한 줄에 하나씩 적어 주세요.'], setKeep: ['After the end', '끝난 뒤'], keepForever: ['Keep the room', '방 보관'], keepDays: ['Erase after {n} days', '{n}일 뒤 모두 지우기'], keepNone: ['Erase at once', '바로 모두 지우기'],
  saved: ['Saved', '저장했어요'],

  screenJoin: ['Join with your phone', '휴대폰으로 참여하세요'], screenCode: ['Code', '코드'], screenQr: ['QR code of the join address', '참여 주소 QR 코드'],
  screenTop: ['Questions with most votes', '공감을 많이 받은 질문'], screenQuestions: ['questions', '질문'], screenPeople: ['here', '참여'], screenSeat: ['Screen', '화면'],
  screenAsk: ['This screen takes a seat in the room to follow it.', '이 화면이 방을 볼 수 있도록 자리를 하나 써요.'], screenStart: ['Show the room here', '여기에 방 띄우기'], fullScreen: ['Full screen', '전체 화면'],
  screenEnded: ['The room has ended. Thank you!', '방이 끝났어요. 고맙습니다!'], screenPaused: ['Paused for a moment', '잠시 쉬어 갈게요'],
});
