package held

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"canopy/client/lock"
	"canopy/ctl/command"
)

// runChild runs a command without a shell, in its own process group, and gives its exit status as an error.
func (o *options) runChild(signals <-chan os.Signal, l *lock.Lock, words []string) error {
	child := exec.Command(words[0], words[1:]...)
	child.Stdin, child.Stdout, child.Stderr = o.host.In, o.host.Out, o.host.Err
	child.Env = append(os.Environ(), "ETCD_LOCK_KEY="+l.Key(), "ETCD_LOCK_INDEX="+strconv.FormatUint(l.Token(), 10))
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if terminal, ok := o.host.In.(*os.File); ok && term.IsTerminal(int(terminal.Fd())) {
		restore := foreground(child.SysProcAttr, int(terminal.Fd()))
		defer restore()
	}
	if err := child.Start(); err != nil {
		return command.Usage("%w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	lost := l.Lost()
	var kill <-chan time.Time
	var wasLost bool
	for {
		select {
		case err := <-ended:
			if wasLost {
				return fmt.Errorf("%w: %s was ended", lock.ErrLost, words[0])
			}
			return exitOf(err)
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok && isForChild(s) {
				signalGroup(child, number)
			}
		case <-lost:
			o.host.Tell("the lock %s is lost; %s is told to end", l.Key(), words[0])
			lost, wasLost = nil, true
			signalGroup(child, syscall.SIGTERM)
			timer := time.NewTimer(o.killAfter)
			defer timer.Stop()
			kill = timer.C
		case <-kill:
			signalGroup(child, syscall.SIGKILL)
		}
	}
}

// signalGroup reaches the child and all processes of its group. It fails if none of them is left: no matter.
func signalGroup(child *exec.Cmd, s syscall.Signal) { _ = syscall.Kill(-child.Process.Pid, s) }

// foreground makes the child the one that the terminal obeys. restore makes this process that again.
func foreground(attributes *syscall.SysProcAttr, terminal int) (restore func()) {
	before, err := unix.IoctlGetInt(terminal, unix.TIOCGPGRP)
	if err != nil || before != syscall.Getpgrp() {
		return func() {} // in the background it stays there
	}
	attributes.Foreground, attributes.Ctty = true, terminal
	return func() {
		signal.Ignore(syscall.SIGTTOU) // this process is in the background until the call is made
		defer signal.Reset(syscall.SIGTTOU)
		_ = unix.IoctlSetPointerInt(terminal, unix.TIOCSPGRP, before) // fails if the terminal is gone
	}
}

// exitOf makes the end of a child the exit status of this program.
func exitOf(err error) error {
	var status *exec.ExitError
	if !errors.As(err, &status) {
		return err
	}
	if wait, ok := status.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return command.Exit(128 + int(wait.Signal()))
	}
	return command.Exit(status.ExitCode())
}
