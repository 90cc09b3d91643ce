package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// WidenTimers sets the timer slack of all threads, and so of those that they
// start later. It needs CAP_SYS_NICE, since the monitor thread is older than any
// code of the program, and a thread may set no slack but its own without it.
//
// If the process has inherited this slack, there is nothing to do. That is how
// systemd (TimerSlackNSec=) and a shell can set it for any user.
func WidenTimers() error {
	inherited, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the timer slack: %w", err)
	}
	if int64(inherited) >= timerSlack.Nanoseconds() {
		return nil
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list the threads: %w", err)
	}
	text := []byte(strconv.FormatInt(timerSlack.Nanoseconds(), 10))
	for _, thread := range threads {
		err := os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", text, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // or the thread has ended
			return fmt.Errorf("set the timer slack: %w", err)
		}
	}
	return nil
}
