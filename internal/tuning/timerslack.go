package tuning

import "time"

// timerSlack is how late the system may wake a thread that waits for a timer.
// The times that a member waits for are at least a hundred times longer.
//
// The default on Linux is 50 µs. Go's monitor thread sleeps for 20 µs at a time
// while any thread is in a system call, such as a sync of the log. With the
// default it wakes up some thousand times a second, and after each look it may
// start another thread that finds nothing to do.
const timerSlack = time.Millisecond
