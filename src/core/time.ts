/** A time stamp as tar and the kernel have it: whole seconds (may be negative) and 0..999999999 ns after it. */
export interface Time {
  sec: number;
  nsec: number;
}
