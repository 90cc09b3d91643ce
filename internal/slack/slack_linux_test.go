package slack

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The test binary plays the program: it tells what it finds, and how often it was executed.
func TestMain(m *testing.M) {
	if os.Getenv("SLACK_TEST_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	err := Widen()
	slack, readErr := os.ReadFile("/proc/self/timerslack_ns")
	comm, commErr := os.ReadFile("/proc/self/comm")
	fmt.Printf("%v %v %v\n%s%s%q\n%d\n", err, readErr, commErr, slack, comm, os.Args[1:], os.Getpid())
}

func play(t *testing.T, environ ...string) (lines []string, pid int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "one", "two words")
	c.Env = append(append(os.Environ(), "SLACK_TEST_PROGRAM=1"), environ...)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n"), c.Process.Pid
}

func TestWiden(t *testing.T) {
	lines, pid := play(t)
	want := []string{"<nil> <nil> <nil>", fmt.Sprint(Width.Nanoseconds()), "slack.test", `["one" "two words"]`, fmt.Sprint(pid), ""}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("the program that was executed anew says\n%q, want\n%q", lines, want)
	}
}

func TestTheSlackIsLeftAsItIs(t *testing.T) {
	lines, _ := play(t, Variable+"=")
	if lines[0] != "<nil> <nil> <nil>" || lines[1] == fmt.Sprint(Width.Nanoseconds()) {
		t.Errorf("with %s the program says %q", Variable, lines)
	}
}
