package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// block is a part of a page in a frame, and the output that the page shows of it.
type block struct{ text, output string }

// blocksOf are the commands of a page.
func blocksOf(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^ *```(sh|text)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		if m[1] == "sh" {
			all = append(all, block{text: m[2]})
		} else {
			all[len(all)-1].output = strings.TrimSpace(m[2])
		}
	}
	return all
}

// The proxy of the page does not lend its certificate to everybody.
func TestTheSecurityPageIsReal(t *testing.T) {
	parallel(t)
	serving := runPage(t, "security.md", 20, "openssl", "curl", "etcdctl")
	log := serving["proxy"].output.String()
	if strings.Contains(log, "this proxy shows the certificate to members") || strings.Contains(log, "has a common name") {
		t.Errorf("the proxy of the page is warned of:\n%s", log)
	}
}

func TestTheUsersPageIsReal(t *testing.T) {
	parallel(t)
	runPage(t, "users.md", 5, "curl")
}

func TestThePageOfTheCommandLineIsReal(t *testing.T) {
	parallel(t)
	runPage(t, "ctl.md", 7)
}

// TestTheMigrationPageIsReal goes the ways of the page with Debian's etcd.
func TestTheMigrationPageIsReal(t *testing.T) {
	parallel(t)
	runPage(t, "migration.md", 18, "etcd", "etcdctl", "curl")
}

// serverLine is a command of a page that serves, and its data directory.
var serverLine = regexp.MustCompile(`^(canopy|etcd) --data-dir (\S+) `)

// runPage runs all commands of a page of the manual, in their order, and compares each line that the page shows with their
// output. A server is started in the place of the one before that has the same data directory. The ports are other ones.
// It gives the servers that run in the end, by data directory.
func runPage(t *testing.T, page string, blocksMin int, tools ...string) map[string]*server {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("openssl, curl, etcd and etcdctl are needed: apt-get install openssl curl etcd-server etcd-client")
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "canopy")); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	here := func(text string) string {
		return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllStringFunc(text, func(address string) string {
			if addresses[address] == "" {
				addresses[address] = strings.TrimPrefix(freeURL(t), "http://")
			}
			return addresses[address]
		})
	}
	command := func(text string) *exec.Cmd {
		c := exec.Command("bash", "-e", "-o", "pipefail", "-c", text)
		c.Dir, c.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "ETCDCTL_ENDPOINTS="+here("http://127.0.0.1:2379"))
		return c
	}
	blocks := blocksOf(t, "../docs/"+page)
	if len(blocks) < blocksMin {
		t.Fatalf("only %d commands were found", len(blocks))
	}
	serving := map[string]*server{} // by data directory
	var starting []*server          // those of one cluster need each other
	ready := func() {
		for _, s := range starting {
			s.waitLine("ready to serve client requests")
		}
		starting = nil
	}
	for _, b := range blocks {
		text, output := strings.TrimSpace(here(b.text)), here(b.output)
		if m := serverLine.FindStringSubmatch(text); m != nil {
			data := m[2]
			if before := serving[data]; before != nil {
				if status := before.signal(syscall.SIGTERM); status != 0 {
					t.Fatalf("the server before ended with status %d", status)
				}
			}
			s := newServer(t)
			s.name, s.line = data, []string{"bash", "-c", "cd " + dir + " && PATH=.:$PATH exec " + text}
			s.launch()
			serving[data], starting = s, append(starting, s)
			continue
		}
		ready()
		if text == "systemctl stop etcd" {
			if status := serving["etcd.data"].signal(syscall.SIGTERM); status > 0 {
				t.Fatalf("etcd ended with status %d", status)
			}
			continue
		}
		eventually(t, hang, text, func() error {
			var out bytes.Buffer
			c := command(text)
			c.Stdout, c.Stderr = &out, &out
			if err := c.Run(); err != nil {
				return fmt.Errorf("%w: %s", err, &out)
			}
			for line := range strings.Lines(output) {
				if line = strings.TrimSpace(line); !strings.Contains(out.String(), line) {
					return fmt.Errorf("it says %q, want %q", &out, line)
				}
			}
			return nil
		})
	}
	ready()
	return serving
}
