package ctl

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"canopy/client/membertest"
)

var rewrite = flag.Bool("rewrite", false, "write what comes out into the tables")

// A step of a table is one command line with what comes out.
//
//	$ set /foo bar            for canopy ctl and for etcdctl, with the same outcome
//	~ set /foo a b c          canopy ctl only does better: a rule of ctl.md asks for it; etcdctl is run, and not compared
//	% -o table ls             for canopy ctl only: etcdctl has no such thing, or would change the keys in another way
//	< text                    standard input, with \n for the end of a line
//	> line                    of standard output
//	! line                    of standard error
//	[1]                       exit status
//
// A line that begins with # is a comment. {client} and {peer} stand for URLs, {id} for the ID of the member, {N} for any number.
type step struct {
	kind     byte
	line     string
	stdin    string
	expected []string
	comment  []string
}

func parseTable(t *testing.T, text string) (steps []step) {
	t.Helper()
	var comment []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
			comment = append(comment, line)
		case strings.ContainsRune("$~%", rune(line[0])):
			steps, comment = append(steps, step{kind: line[0], line: strings.TrimPrefix(line[1:], " "), comment: comment}), nil
		case line[0] == '<' && len(steps) > 0:
			steps[len(steps)-1].stdin += strings.ReplaceAll(line[2:], `\n`, "\n")
		case strings.ContainsRune(">![", rune(line[0])) && len(steps) > 0:
			steps[len(steps)-1].expected = append(steps[len(steps)-1].expected, line)
		default:
			t.Fatalf("a line of the table means nothing: %q", line)
		}
	}
	return steps
}

// split splits a command line: at blanks, but for those in '…'.
func split(line string) (all []string) {
	for _, found := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		all = append(all, found[1]+found[2])
	}
	return all
}

// outcome formats what came out as the table has it.
func outcome(stdout, stderr string, exit int, replace func(string) string) []string {
	var lines []string
	add := func(mark, text string) {
		if text == "" {
			return
		}
		for line := range strings.Lines(text) {
			end := ""
			if !strings.HasSuffix(line, "\n") {
				end = "(no newline)"
			}
			lines = append(lines, strings.TrimRight(mark+" "+replace(strings.TrimSuffix(line, "\n"))+end, " "))
		}
	}
	add(">", stdout)
	add("!", stderr)
	return append(lines, fmt.Sprintf("[%d]", exit))
}

// patient gives a busy machine time.
func patient(args []string) []string {
	return append([]string{"--timeout", "1m", "--total-timeout", "1m"}, args...)
}

// runner runs a command line against a cluster.
type runner func(args []string, stdin string) (stdout, stderr string, exit int)

func ourRunner(t *testing.T, endpoint string) runner {
	return func(args []string, stdin string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		env := Env{Name: "etcdctl", In: strings.NewReader(stdin), Out: &stdout, Err: &stderr,
			Getenv: func(name string) string {
				if name == "ETCDCTL_ENDPOINTS" {
					return endpoint
				}
				return ""
			},
			OpenTerminal: func() (*os.File, error) { return nil, errors.New("there is no terminal") }}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		exit := Run(ctx, env, patient(args))
		if ctx.Err() != nil {
			t.Errorf("%q does not end", args)
		}
		return stdout.String(), stderr.String(), exit
	}
}

// theirRunner runs Debian's etcdctl.
func theirRunner(t *testing.T, endpoint string) runner {
	return func(args []string, stdin string) (string, string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, "etcdctl", patient(args)...)
		c.Env = append(os.Environ(), "ETCDCTL_API=2", "ETCDCTL_ENDPOINTS="+endpoint)
		var stdout, stderr bytes.Buffer
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
		var status *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
	}
}

// Each table of testdata holds command lines with what comes out of them, rule by rule (section 12.1 of C).
func TestCommandLines(t *testing.T) {
	files, err := filepath.Glob("testdata/table/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d tables are found, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			steps := parseTable(t, string(text))
			playTable(t, steps, false)
			if *rewrite {
				writeTable(t, file, steps)
			}
		})
		t.Run("etcdctl/"+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("etcdctl"); err != nil {
				t.Skip("etcdctl is needed: apt-get install etcd-client")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			playTable(t, parseTable(t, string(text)), true)
		})
	}
}

// playTable plays steps against a member of its own; theirs: with etcdctl.
func playTable(t *testing.T, steps []step, theirs bool) {
	t.Helper()
	cluster := membertest.Start(t, 1)
	endpoint, peer := cluster.ClientURLs()[0], cluster.PeerURLs()[0]
	run := ourRunner(t, endpoint)
	if theirs {
		run = theirRunner(t, endpoint)
	}
	id, _, _ := ourRunner(t, endpoint)([]string{"member", "list"}, "")
	id, _, _ = strings.Cut(id, ":")
	fill := strings.NewReplacer("{client}", endpoint, "{peer}", peer, "{id}", id)
	hide := strings.NewReplacer(endpoint, "{client}", peer, "{peer}", id, "{id}")
	for n := range steps {
		s := &steps[n]
		if s.kind == '%' && theirs {
			continue
		}
		stdout, stderr, exit := run(split(fill.Replace(s.line)), s.stdin)
		got := outcome(stdout, stderr, exit, hide.Replace)
		if *rewrite && !theirs {
			s.expected = keepNumbers(s.expected, got)
			continue
		}
		if s.kind == '~' && theirs {
			continue
		}
		if !slicesMatch(s.expected, got) {
			t.Errorf("%s\n%s\nwant\n%s", s.line, strings.Join(got, "\n"), strings.Join(s.expected, "\n"))
		}
	}
}

// slicesMatch compares lines; {N} is any number, and {TIME} any time.
func slicesMatch(want, got []string) bool {
	if len(want) != len(got) {
		return false
	}
	for n := range want {
		pattern := regexp.QuoteMeta(want[n])
		pattern = strings.NewReplacer(`\{N\}`, `[0-9]+`, `\{TIME\}`, `[0-9T:.Z-]+`, `\{ID\}`, `[0-9a-f]+`, `\{LIST\}`, `(m0={peer},n2=http://127\.0\.0\.1:2390|n2=http://127\.0\.0\.1:2390,m0={peer})`).Replace(pattern)
		if !regexp.MustCompile("^" + pattern + "$").MatchString(got[n]) {
			return false
		}
	}
	return true
}

// keepNumbers keeps lines that match already.
func keepNumbers(want, got []string) []string {
	if slicesMatch(want, got) {
		return want
	}
	return got
}

func writeTable(t *testing.T, file string, steps []step) {
	t.Helper()
	var b strings.Builder
	for _, s := range steps {
		for _, line := range s.comment {
			fmt.Fprintln(&b, line)
		}
		fmt.Fprintf(&b, "%c %s\n", s.kind, s.line)
		if s.stdin != "" {
			fmt.Fprintf(&b, "< %s\n", strings.ReplaceAll(s.stdin, "\n", `\n`))
		}
		for _, line := range s.expected {
			fmt.Fprintln(&b, line)
		}
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

const patience = time.Minute
