package tuning

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The test binary plays the program: it prints what WidenTimers returns, and the slack of each of its threads.
func TestMain(m *testing.M) {
	if os.Getenv("TUNING_TEST_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	if err := WidenTimers(); errors.Is(err, fs.ErrPermission) {
		fmt.Println("refused")
		return
	} else if err != nil {
		fmt.Println(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fmt.Println(err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if errors.Is(err, fs.ErrPermission) { // of another thread
			continue
		} else if err != nil {
			fmt.Println(err)
		}
		fmt.Print(string(slack))
	}
}

// play runs the program from a shell, after setup.
func play(t *testing.T, setup string) (lines []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", setup+` exec "$0"`, program)
	c.Env = append(os.Environ(), "TUNING_TEST_PROGRAM=1")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestAllThreadsHaveTheSlack(t *testing.T) {
	lines := play(t, "")
	if len(lines) == 1 && lines[0] == "refused" {
		t.Skip("this user may not set the slack of other threads")
	}
	for _, line := range lines {
		if line != fmt.Sprint(timerSlack.Nanoseconds()) {
			t.Errorf("the slacks of the threads are %q", lines)
		}
	}
	if len(lines) < 2 {
		t.Errorf("%d threads were found", len(lines))
	}
}

func TestAnInheritedSlackIsKept(t *testing.T) {
	for _, line := range play(t, "echo 2000000 >/proc/$$/timerslack_ns;") {
		if line != "2000000" {
			t.Errorf("a thread says %q", line)
		}
	}
}
