// Package slack lets the monitor of Go's runtime sleep for longer.
//
// The monitor looks every 20 µs, as long as there is something to find, for goroutines that are held up in the system,
// and gives what they run on to another thread. It always finds the one that syncs the log. So each sync wakes a thread,
// mostly one with nothing to do, and has to look for something to run on when it is done; besides, the looks themselves
// wake a processor, some thousand times a second. A member on a busy machine with fast disks spends a fifth of its
// processor time so.
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
