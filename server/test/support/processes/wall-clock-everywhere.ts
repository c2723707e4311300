// A fault to be planted with `--import`: durations are taken from the wall clock.
import { systemClock } from '../../../src/lib/system.ts';

systemClock.monotonic = () => Date.now();
