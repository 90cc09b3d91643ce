package slack

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Widen executes the program anew with a timer slack of Width, and does not return then. It returns without an error if
// there is nothing to do: the slack is that wide, or Variable is set. It is for the begin of main, where nothing is open.
func Widen() error {
	if _, isSet := os.LookupEnv(Variable); isSet {
		return nil
	}
	runtime.LockOSThread() // the slack is the thread's, and the one that executes hands it on
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the timer slack: %w", err)
	}
	if int64(before) >= Width.Nanoseconds() {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(Width.Nanoseconds()), 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	err = syscall.Exec(program, os.Args, append(os.Environ(), Variable+"="+Width.String()))
	return fmt.Errorf("execute %s: %w", program, err)
}
