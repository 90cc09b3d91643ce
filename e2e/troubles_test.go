package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// logLine is one line of a process's log.
type logLine struct{ level, text string }

var textLine = regexp.MustCompile(`^time="[^"]*" level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)`)

// logLines reads the log of a process, which may be text or JSON. What it writes
// before it has a log is left out.
func (s *server) logLines() []logLine {
	s.t.Helper()
	var all []logLine
	scanner := bufio.NewScanner(strings.NewReader(s.output.String()))
	for scanner.Scan() {
		var entry struct{ Level, Msg string }
		if m := textLine.FindStringSubmatch(scanner.Text()); m != nil {
			text := m[2]
			if unquoted, err := strconv.Unquote(text); err == nil {
				text = unquoted
			}
			all = append(all, logLine{m[1], text})
		} else if json.Unmarshal(scanner.Bytes(), &entry) == nil {
			all = append(all, logLine{entry.Level, entry.Msg})
		}
	}
	return all
}

// promise is a line that docs/troubleshooting.md promises for some trouble.
type promise struct {
	level string
	text  string // as in the page
	line  *regexp.Regexp
}

// provoked are the troubles that the tests of this file bring about.
var provoked = []string{
	"the leader dies", "a quorum is lost", "a member cannot be reached", "a member advertises another peer URL than the list has",
	"a member joins with an outdated list", "the disk is full", "a process finds no room in the cluster of its token",
}

// promises reads the first table of the page: what is promised for each trouble,
// and the troubles in their order.
func promises(t *testing.T) (of map[string][]promise, order []string) {
	t.Helper()
	page, err := os.ReadFile("../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "|---|---|---|---|\n")
	if !found {
		t.Fatal("docs/troubleshooting.md has no table")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	of = map[string][]promise{}
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("a row of docs/troubleshooting.md has %d cells: %s", len(cells), row)
		}
		if trouble := strings.TrimSpace(cells[0]); trouble != "" {
			order = append(order, trouble)
		}
		text := strings.Trim(strings.TrimSpace(cells[2]), "`")
		pattern := strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*")
		last := order[len(order)-1]
		of[last] = append(of[last], promise{strings.TrimSpace(cells[1]), text, regexp.MustCompile(pattern)})
	}
	return of, order
}

// TestTheTableOfTroublesIsProvoked: nothing is promised there that no test brings about.
func TestTheTableOfTroublesIsProvoked(t *testing.T) {
	if _, order := promises(t); !slices.Equal(order, provoked) {
		t.Errorf("docs/troubleshooting.md promises lines for\n%q\nthe tests bring about\n%q", order, provoked)
	}
}

// tells waits for the n-th line that is promised for a trouble, with all of the
// texts in it, at the level promised, and gives it.
func (s *server) tells(trouble string, n int, texts ...string) string {
	s.t.Helper()
	of, _ := promises(s.t)
	want, line := of[trouble][n], ""
	eventually(s.t, hang, fmt.Sprintf("%s to log at level %s: %s", s.name, want.level, want.text), func() error {
		for _, l := range s.logLines() {
			missing := slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(l.text, text) })
			if l.level == want.level && want.line.MatchString(l.text) && !missing {
				line = l.text
				return nil
			}
		}
		return fmt.Errorf("with %q in it; its log ends with\n%s", texts, tail(s.output.String(), 10))
	})
	return line
}

// unhealthy checks that /health is false, for a reason with all of the texts.
func (s *server) unhealthy(texts ...string) {
	s.t.Helper()
	eventually(s.t, hang, s.name+" to be unhealthy", func() error {
		a, err := s.do(http.MethodGet, "/health", "")
		if err != nil {
			return err
		}
		var health struct{ Health, Reason string }
		err = json.Unmarshal([]byte(a.body), &health)
		if err != nil || a.status != http.StatusServiceUnavailable || health.Health != "false" || !strings.HasPrefix(a.body, `{"health": "false", "reason": "`) {
			return fmt.Errorf("its health is %d %s (%w)", a.status, a.body, err)
		}
		for _, text := range texts {
			if !strings.Contains(health.Reason, text) {
				return fmt.Errorf("its reason %q lacks %q", health.Reason, text)
			}
		}
		return nil
	})
}

// formats are those of a log.
var formats = []string{"text", "json"}

// calm gives elections so much time that a busy machine does not look like trouble.
var calm = []string{"--heartbeat-interval", "500", "--election-timeout", "5000"}

// TestWhatIsOrdinaryIsNoWarning: a start, restarts one after the other, and a stop.
func TestWhatIsOrdinaryIsNoWarning(t *testing.T) {
	parallel(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			parallel(t)
			c := newCluster(t, 3, append([]string{"--log-format", format}, calm...)...)
			check := func(s *server) {
				t.Helper()
				lines := s.logLines()
				for _, l := range lines {
					if l.level != "info" {
						t.Errorf("%s logs a line of level %s: %s", s.name, l.level, l.text)
					}
				}
				for _, want := range []string{"leads", "ready to serve client requests", "shutting down: terminated signal received", "stopped; "} {
					if !slices.ContainsFunc(lines, func(l logLine) bool { return strings.Contains(l.text, want) }) {
						t.Errorf("%s does not log %q:\n%s", s.name, want, s.output)
					}
				}
			}
			for _, s := range c.members {
				s.waitLine("ready to serve client requests")
				s.signal(syscall.SIGTERM)
				check(s)
				s.start()
			}
			for _, s := range c.members {
				s.waitLine("ready to serve client requests")
			}
			for _, s := range c.members {
				if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range c.members {
				s.waitExit()
				check(s)
			}
		})
	}
}

// TestTheLossOfAQuorumIsTold: by the member that is left, with names and URLs of
// those that are missing, and why; and that it is over.
func TestTheLossOfAQuorumIsTold(t *testing.T) {
	parallel(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			parallel(t)
			c := newCluster(t, 3, "--log-format", format)
			leader := c.leader()
			others := c.others(leader)
			left, gone := others[0], []*server{leader, others[1]}
			c.waitNames()
			dead := c.id(leader)
			leader.kill()
			left.tells("the leader dies", 0, "lost leader "+dead, leader.name+", "+leader.peer, "2 of 3")
			left.tells("the leader dies", 1, "leads")
			gone[1].kill()
			for _, s := range gone {
				left.tells("a quorum is lost", 0, "1 of 3 members reachable, 2 are needed", s.name+", "+s.peer, "connection refused")
				left.tells("a member cannot be reached", 0, s.name+", "+s.peer, "connection refused")
			}
			left.unhealthy("there is no leader", "1 of 3 members reachable", gone[0].peer, gone[1].peer)
			for _, s := range gone {
				s.start()
			}
			left.tells("a quorum is lost", 1)
			for _, s := range gone {
				left.tells("a member cannot be reached", 1, s.name+", "+s.peer)
			}
			left.waitServing()
		})
	}
}

// waitNames waits until all members know the names of all.
func (c *cluster) waitNames() {
	c.t.Helper()
	eventually(c.t, hang, "the members to publish their names", func() error {
		for _, s := range c.members {
			list, err := s.list()
			if err != nil || slices.ContainsFunc(list, func(m member) bool { return m.Name == "" }) {
				return fmt.Errorf("%s knows %+v (%w)", s.name, list, err)
			}
		}
		return nil
	})
}

// TestAnUnannouncedPeerURLIsTold at once, and as the reason of what comes of it.
func TestAnUnannouncedPeerURLIsTold(t *testing.T) {
	parallel(t)
	const trouble = "a member advertises another peer URL than the list has"
	c := newCluster(t, 3, "--log-format", "json")
	moved := c.others(c.leader())[0]
	moved.signal(syscall.SIGTERM)
	known := moved.peer
	moved.peer = freeURL(t)
	moved.launch()
	moved.tells(trouble, 0, known, moved.peer)
	line := moved.tells(trouble, 1, "3 of 3 members reachable", "which they know at "+known)
	moved.tells(trouble, 2, "which they know at "+known)
	if log := moved.output.String(); strings.Contains(log, "published {") {
		t.Errorf("it was published:\n%s", log)
	}
	for _, s := range c.others(moved) {
		if !strings.Contains(line, s.peer) {
			t.Errorf("%q does not name %s", line, s.peer)
		}
	}
	moved.unhealthy("without a connection to this member, which they know at " + known)
	moved.signal(syscall.SIGTERM)
	moved.peer = known
	moved.start()
}

// TestAJoinWithAnOutdatedListIsTold: whom it waits for, soon and not only at the end.
func TestAJoinWithAnOutdatedListIsTold(t *testing.T) {
	parallel(t)
	const trouble = "a member joins with an outdated list"
	c := newCluster(t, 2)
	here := c.members[0]
	joiner := newServer(t, "--initial-cluster-state", "existing")
	joiner.name = "m3"
	c.register(joiner, here)
	gone := freeURL(t)
	joiner.cluster = fmt.Sprintf("m1=%s,gone=%s,m3=%s", here.peer, gone, joiner.peer)
	joiner.launch()
	joiner.tells(trouble, 0, "1 of 2 members answered, and 2 are needed", "m1 at "+here.peer+" answered, and knows other members",
		"gone at "+gone+" did not answer", "connection refused")
	if !*full {
		return // it goes on for half a minute, see TestAJoinThatWaitsSaysForWhom
	}
	if status := joiner.waitExit(); status != 1 {
		t.Errorf("exit status = %d, want 1", status)
	}
	joiner.tells(trouble, 1, "gone at "+gone+" did not answer")
}

// TestAFullDiskIsTold in the log, in /health and in a metric, while deletes go on.
func TestAFullDiskIsTold(t *testing.T) {
	parallel(t)
	disk := smallDisk(t, 48<<20)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, "--wal-segment-bytes", "4194304", "--snapshot-count", "100000000", "--log-format", "json")
	s.dir = filepath.Join(disk, "data")
	s.start()
	s.shows("canopy_disk_full 0")
	fill(s)
	s.tells("the disk is full", 0)
	s.unhealthy("the disk is full")
	s.shows("canopy_disk_full 1")
	s.must(http.StatusOK, "DELETE", "/v2/keys/fill/0", "")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.tells("the disk is full", 1)
	s.shows("canopy_disk_full 0")
	s.must(http.StatusOK, "GET", "/health", "")
}

// shows waits until a line is in /metrics.
func (s *server) shows(metric string) {
	s.t.Helper()
	eventually(s.t, hang, metric, func() error {
		a, err := s.do(http.MethodGet, "/metrics", "")
		if err != nil || !strings.Contains(a.body, "\n"+metric+"\n") {
			return fmt.Errorf("it is not there (%w)", err)
		}
		return nil
	})
}

// TestDebugAndAccessLines: what --debug adds, and that numbers have their units.
func TestDebugAndAccessLines(t *testing.T) {
	parallel(t)
	c := newCluster(t, 2, "--debug", "--access-log", "--log-format", "json")
	s := c.members[0]
	s.must(http.StatusCreated, "PUT", "/v2/keys/k", "value=1")
	s.waitLine(`"method":"PUT"`) // it comes after the answer
	log := s.output.String()
	for _, want := range []string{"raft: this member is ", "the stream log to ", "the stream control from "} {
		if !slices.ContainsFunc(s.logLines(), func(l logLine) bool { return l.level == "debug" && strings.HasPrefix(l.text, want) }) {
			t.Errorf("no debug line begins with %q:\n%s", want, log)
		}
	}
	for line := range strings.SplitSeq(log, "\n") {
		var access struct {
			Msg, Method string
			Seconds     float64 `json:"duration_seconds"`
		}
		if json.Unmarshal([]byte(line), &access) == nil && access.Msg == "access" && access.Method == "PUT" {
			if access.Seconds <= 0 || access.Seconds > hang.Seconds() {
				t.Errorf("a PUT took %v s: %s", access.Seconds, line)
			}
			return
		}
	}
	t.Errorf("no access line of the PUT:\n%s", log)
}
