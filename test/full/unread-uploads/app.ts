import { answerUnread } from '../../support/unread-uploads.ts'

export default { fetch: answerUnread }
