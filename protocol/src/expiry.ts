/**
 * Times of requests: RFC 3339, and leniently the page's own example with an offset without leading zero (`+5:30`).
 * By arithmetic: the engine's own parser rolls February 30 over and takes many other forms.
 */
const timePattern =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,30}))?(?:([Zz])|([+-])(\d{1,2}):(\d\d))$/;

const daysOfMonth = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function isDate(year: number, month: number, day: number): boolean {
  const days = month === 2 && isLeapYear(year) ? 29 : (daysOfMonth[month - 1] ?? 0);
  return day >= 1 && day <= days;
}

/** Days from 1970-01-01 to a date of the Gregorian calendar. */
function daysSince1970(year: number, month: number, day: number): number {
  // Years start in March, so that the leap day is their last one.
  const marchYear = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  // 719,468 days lie between March 1 of year 0 and 1970-01-01.
  return marchYear * 365 + leapDays + dayOfYear - 719_468;
}

/**
 * Milliseconds since 1970 of a time, or undefined where the text is none. A fraction is cut to milliseconds; a leap
 * second (`23:59:60Z`) is the second after it.
 */
export function parseTime(text: string): number | undefined {
  const match = timePattern.exec(text);
  if (match === null) {
    return undefined;
  }
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const offsetHour = Number(match[10] ?? 0);
  const offsetMinute = Number(match[11] ?? 0);
  const inRange = isDate(year, month, day) && hour <= 23 && minute <= 59 && offsetHour <= 23 && offsetMinute <= 59;
  if (!inRange || second > 60) {
    return undefined;
  }
  const sign = match[9] === '-' ? -1 : 1;
  const minuteOfEpoch =
    daysSince1970(year, month, day) * 1_440 + hour * 60 + minute - sign * (offsetHour * 60 + offsetMinute);
  // Leap seconds are put in at the end of a day of UTC alone.
  if (second === 60 && (((minuteOfEpoch + 1) % 1_440) + 1_440) % 1_440 !== 0) {
    return undefined;
  }
  const milliseconds = Number((match[7] ?? '').slice(0, 3).padEnd(3, '0'));
  return minuteOfEpoch * 60_000 + second * 1_000 + milliseconds;
}
