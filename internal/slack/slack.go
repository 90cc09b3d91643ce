// Package slack lets the monitor of Go's runtime sleep for longer.
//
// The monitor looks every 20 µs for goroutines that are held up in the system, as long as it finds one now and then, and
// those that sync the log are found all the time. Each look is a timer's interrupt and two switches between threads; in a
// virtual machine it leaves that twice besides. A member on a busy machine spends a fifth of its processor time so.
//
// The system wakes a thread that sleeps when it suits, as long as that is no later than the thread's timer slack after
// its time, see prctl(2). It is 50 µs, unless the thread that made this one had another. But the monitor is made before
// any code of the program runs. So the slack is set, and the program executed anew: in the same process, with the same
// arguments.
package slack

import "time"

// Width is how late timers may be. What a member waits for by the clock is a hundred times longer.
const Width = time.Millisecond

// Variable in the environment, whatever its value, leaves the slack as it is. It is set when the program is executed
// anew, which so is done once, also where that does not keep the slack.
const Variable = "CANOPY_TIMER_SLACK"
