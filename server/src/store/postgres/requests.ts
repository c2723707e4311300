/** Columns for `recordOf` of request-record.ts, of a table or alias `r`. */
export const RECORD_COLUMNS =
  'r.uid, r.client, r.service, r.app, r.accepted, r.expiry, r.priority, r.word, r.notify_url, r.callback, r.members';

/** Columns for its `contentOf`, of a table or alias `r`. */
export const CONTENT_COLUMNS = 'r.uid, r.key, r.service, r.app, r.accepted, r.expiry, r.priority, r.content';
