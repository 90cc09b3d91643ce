//go:build linux

package ctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"canopy/client"
	"canopy/client/membertest"
)

// swallowing passes requests on to a member, and swallows all answers: a request has arrived, and nobody knows. It gives its
// URL.
func swallowing(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { swallow(conn, strings.TrimPrefix(to, "http://")) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String()
}

func swallow(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(to, from)
		to.Close()
	}()
	to.Read(make([]byte, 1)) // the answer begins, so the request was done
	from.Close()
	<-done
}

// A write whose answer is lost is not repeated: its outcome is unknown (C17, section 12.2 of C).
func TestALostAnswerIsNoSecondWrite(t *testing.T) {
	t.Parallel()
	member := membertest.Start(t, 1).ClientURLs()[0]
	both := []string{swallowing(t, member), member}
	for _, args := range [][]string{{"mk", "--in-order", "/q", "v"}, {"set", "/k", "v"}, {"mk", "/new", "v"}} {
		run := begin(t, both, patient(append([]string{"--no-sync"}, args...))...)
		exit := <-run.exit
		run.exit <- exit
		if exit != exitServer || !strings.HasPrefix(run.err.String(), "Error:  outcome unknown: the change may have been made\nerror #0: ") {
			t.Errorf("%q ends with %d: %s", args, exit, &run.err)
		}
	}
	found, err := newClient(t, []string{member}).Get(t.Context(), "/q", client.GetOptions{})
	if err != nil || len(found.Node.Nodes) != 1 {
		t.Errorf("the queue has %+v, %v, want one key", found, err)
	}
	run := begin(t, both, patient([]string{"--no-sync", "get", "/k"})...) // a read is repeated
	exit := <-run.exit
	run.exit <- exit
	if exit != 0 || run.out.String() != "v\n" {
		t.Errorf("get ends with %d: %s%s", exit, &run.out, &run.err)
	}
}

// cluster-health answers while members are stopped, or accept connections and are silent (C43, C44).
func TestClusterHealth(t *testing.T) {
	t.Parallel()
	cluster := membertest.Start(t, 3)
	urls := cluster.ClientURLs()
	health := func(at ...string) (string, int) {
		run := begin(t, at, "--timeout", "2s", "cluster-health")
		exit := <-run.exit
		run.exit <- exit
		return run.out.String(), exit
	}
	if out, exit := health(urls...); exit != 0 || !strings.HasSuffix(out, "cluster is healthy\n") {
		t.Errorf("three members: %d, %s", exit, out)
	}
	cluster.Members[2].Stop()
	silent, err := net.Listen("tcp", strings.TrimPrefix(urls[2], "http://")) // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	var out string
	exit := 0
	eventually(t, "the others elect a leader", func() bool { out, exit = health(urls[0]); return strings.HasSuffix(out, "cluster is degraded\n") })
	if exit != exitHealth || strings.Count(out, "is healthy: got healthy result from") != 2 || !strings.Contains(out, "failed to check the health of member") ||
		!strings.Contains(out, "is unreachable: ["+urls[2]+"] are all unreachable\n") || !strings.HasSuffix(out, "cluster is degraded\n") {
		t.Errorf("one member is silent: %d, %s", exit, out)
	}
	silent.Close()
	cluster.Members[1].Stop()
	eventually(t, "no member is healthy", func() bool {
		out, exit = health(urls[0])
		return exit == exitHealth && strings.HasSuffix(out, "cluster is unavailable\n")
	})
	eventually(t, "member list without a leader, when it is needed most (C46)", func() bool {
		run := begin(t, urls[:1], "--no-sync", "member", "list")
		exit := <-run.exit
		run.exit <- exit
		return exit == 0 && strings.Count(run.out.String(), "isLeader=false\n") == 3
	})
}

// health shows each member in a line, and its status tells whether all are healthy.
func TestHealth(t *testing.T) {
	t.Parallel()
	cluster := membertest.Start(t, 3)
	health := func() ([]conditionJSON, int) {
		t.Helper()
		run := begin(t, cluster.ClientURLs()[:1], "-o", "json", "--timeout", "10s", "health")
		exit := <-run.exit
		run.exit <- exit
		var all []conditionJSON
		if err := json.Unmarshal([]byte(run.out.String()), &all); err != nil || len(all) != 3 {
			t.Fatalf("%v: %s%s", err, &run.out, &run.err)
		}
		return all, exit
	}
	eventually(t, "all are healthy, one leads, and nobody lags", func() bool {
		all, exit := health()
		leaders := 0
		for _, one := range all {
			if one.State == "leader" {
				leaders++
			}
			if one.Lag != 0 || one.Index == 0 || one.Version != "2.3.8" || one.Alarm != "" || one.Full {
				return false
			}
		}
		return exit == 0 && leaders == 1
	})
	cluster.Members[1].Stop()
	eventually(t, "the member that is stopped is shown", func() bool {
		all, exit := health()
		for _, one := range all {
			if one.URL == cluster.Members[1].ClientURL && !one.Healthy && one.Reason == "connection refused" {
				return exit == exitHealth
			}
		}
		return false
	})
	run := begin(t, cluster.ClientURLs()[:1], "--timeout", "10s", "health")
	if <-run.exit; strings.Count(run.out.String(), "\n") != 4 || !strings.Contains(run.out.String(), "unhealthy: connection refused") {
		t.Errorf("the table is\n%s", &run.out)
	}
	run.exit <- 0
}

// A shell completes keys from the cluster, one level at a time.
func TestKeysAreCompleted(t *testing.T) {
	t.Parallel()
	urls := membertest.Start(t, 1).ClientURLs()
	c := newClient(t, urls)
	for _, key := range []string{"/app/port", "/app/host", "/other"} {
		if _, err := c.Set(t.Context(), key, "1", client.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for typed, want := range map[string]string{"": "app/\nother\n", "/": "/app/\n/other\n", "/app/": "/app/host\n/app/port\n", "/app/p": "/app/port\n", "ap": "app/\n", "/none/": ""} {
		eventually(t, "keys for "+typed, func() bool {
			run := begin(t, urls, "__complete", "get", typed)
			exit := <-run.exit
			run.exit <- exit
			return strings.HasPrefix(run.out.String(), want+":")
		})
	}
}

// --debug shows requests that can be repeated, and no secret (C40, C41).
func TestDebugShowsNoSecret(t *testing.T) {
	t.Parallel()
	url := membertest.Start(t, 1).ClientURLs()[0]
	run := func(variables map[string]string, args ...string) string {
		t.Helper()
		var out, told bytes.Buffer
		env := Env{Name: "etcdctl", In: strings.NewReader(""), Out: &out, Err: &told,
			Getenv:       func(name string) string { return variables[name] },
			OpenTerminal: func() (*os.File, error) { return nil, errors.New("there is no terminal") }}
		if exit := Run(t.Context(), env, patient(append([]string{"--debug", "--endpoints", url}, args...))); exit != 0 {
			t.Fatalf("%q ends with %d: %s", args, exit, &told)
		}
		return told.String()
	}
	all := run(nil, "user", "add", "root:SECRET1") + run(nil, "auth", "enable") + run(map[string]string{"ETCDCTL_USERNAME": "root:SECRET1"}, "user", "add", "bob:SECRET2")
	all += run(map[string]string{"ETCDCTL_USERNAME": "root", "ETCDCTL_PASSWORD": "SECRET1"}, "set", "/it's", "a b&c", "--ttl", "9")
	if strings.Contains(all, "SECRET") {
		t.Errorf("a password is shown:\n%s", all)
	}
	for _, line := range []string{
		"start to sync cluster using endpoints(" + url + ")\n", "got endpoints(" + url + ") after sync\n", "Cluster-Endpoints: " + url + "\n",
		"cURL Command: curl -X PUT '" + url + "/v2/keys/it%27s' -u 'root' -d 'ttl=9&value=a+b%26c'\n",
		"cURL Command: curl -X PUT '" + url + "/v2/auth/users/bob' -u 'root' -H 'Content-Type: application/json' -d '{\"password\":\"***\",\"user\":\"bob\"}'\n",
	} {
		if !strings.Contains(all, line) {
			t.Errorf("no line %s in\n%s", line, all)
		}
	}
}

// A password is asked for on the terminal, without an echo, and not on standard output (C12).
func TestAPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	url := membertest.Start(t, 1).ClientURLs()[0]
	terminal, user, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo terminal can be made: %v", err)
	}
	defer terminal.Close()
	var out, told bytes.Buffer
	env := Env{Name: "etcdctl", In: strings.NewReader(""), Out: &out, Err: &told, Getenv: func(string) string { return "" },
		OpenTerminal: func() (*os.File, error) { return user, nil }}
	exit := make(chan int, 1)
	go func() { exit <- Run(t.Context(), env, patient([]string{"--endpoints", url, "user", "add", "bob"})) }()
	shown := make([]byte, 0, 100)
	buffer := make([]byte, 100)
	for !strings.Contains(string(shown), "New password: ") {
		n, err := terminal.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, buffer[:n]...)
	}
	eventually(t, "the echo is off", func() bool { return !echoes(t, user) })
	if _, err := terminal.WriteString("SECRET\n"); err != nil {
		t.Fatal(err)
	}
	if status := <-exit; status != 0 || out.String() != "User bob created\n" || told.Len() > 0 {
		t.Errorf("it ends with %d: %s%s", status, &out, &told)
	}
	if strings.Contains(string(shown), "SECRET") {
		t.Errorf("the terminal shows %q", shown)
	}
}
