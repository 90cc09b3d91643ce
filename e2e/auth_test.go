package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// as sends a request of a user, or of a guest if that is "", and checks the status.
func (s *server) as(user, method, path, body string, status int) string {
	s.t.Helper()
	got, text := s.tryAs(user, method, path, body)
	if got != status {
		s.t.Fatalf("%s: %s %s of %q = %d %s, want %d", s.name, method, path, user, got, text, status)
	}
	return text
}

// tryAs gives the status 0 if there is no answer. A user's password is the name backwards.
func (s *server) tryAs(user, method, path, body string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.client+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password(user))
	}
	if !strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(b)
}

func password(user string) string { return "password of " + user }

// guard makes users matter: bob may use what is below /app, and a guest nothing.
func (s *server) guard() {
	s.t.Helper()
	s.as("", "PUT", "/v2/auth/users/root", `{"user":"root","password":"`+password("root")+`"}`, 201)
	s.as("", "PUT", "/v2/auth/roles/r", `{"role":"r","permissions":{"kv":{"read":["/app/*"],"write":["/app/*"]}}}`, 201)
	s.as("", "PUT", "/v2/auth/users/bob", `{"user":"bob","password":"`+password("bob")+`","roles":["r"]}`, 200)
	s.as("", "PUT", "/v2/auth/roles/guest", `{"role":"guest"}`, 201)
	s.as("", "PUT", "/v2/auth/enable", "", 200)
}

// A member that starts lets nobody in before it knows who may come in (A64, R91): it is killed and started again, and asked
// without credentials from the first accepted connection on.
func TestNobodyIsLetInAtAStart(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--bcrypt-cost", "4")
	s.start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/app/k", "value=1")
	s.guard()
	s.waitLine("users are enabled: requests without credentials may do nothing with keys")
	for n := range 3000 { // a log that takes a while
		s.as("bob", "PUT", fmt.Sprintf("/v2/keys/app/%d", n%100), "value=x", map[bool]int{true: 201, false: 200}[n < 100])
	}
	for range 5 {
		s.as("root", "DELETE", "/v2/auth/enable", "", 200)
		s.as("", "PUT", "/v2/auth/enable", "", 200) // the last entry of the log
		s.kill()
		s.launch()
		refused := false
		eventually(t, time.Minute, "a refusal", func() error {
			for _, path := range []string{"/v2/keys/app/k", "/v2/keys/?recursive=true", "/v2/auth/users"} {
				status, text := s.tryAs("", "GET", path, "")
				if status >= 200 && status < 300 {
					t.Errorf("%s without credentials = %d %s", path, status, text)
				}
				refused = status == http.StatusUnauthorized
			}
			if !refused {
				return fmt.Errorf("no answer")
			}
			return nil
		})
		s.as("bob", "GET", "/v2/keys/app/k", "", 200)
		s.as("", "DELETE", "/v2/auth/users/root", "", 401)
	}
}

// Wrong passwords, as many as can be sent, cost no leader its lead, and a user with the right one is served meanwhile. Hashes
// have their usual cost.
func TestGuessesUnseatNoLeader(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3, "--heartbeat-interval", "300", "--election-timeout", "3000")
	leader := c.leader()
	leader.guard()
	leader.as("bob", "PUT", "/v2/keys/app/k", "value=0", 201)
	term := lastTerm(t, c.members...)
	ctx, stop := context.WithCancel(t.Context())
	var guessers sync.WaitGroup
	var answered atomic.Int64
	for n := range 100 {
		at := c.members[n%3]
		guessers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.client+"/v2/keys/app/k", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.SetBasicAuth("root", fmt.Sprint("guess ", n))
				a, err := receive(http.DefaultClient, r)
				if err == nil && a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable {
					t.Errorf("a guess is answered with %d %s", a.status, a.body)
				}
				answered.Add(1)
			}
		})
	}
	for n := 1; n <= 200 || answered.Load() < 2000; n++ {
		leader.as("bob", "PUT", "/v2/keys/app/k", fmt.Sprint("value=", n), 200)
	}
	stop()
	guessers.Wait()
	if now := lastTerm(t, c.members...); now != term {
		t.Errorf("the term is %d, and was %d before %d guesses", now, term, answered.Load())
	}
}

// Users and roles are the same on each member, through a proxy, and for a member that was down when they were made.
func TestUsersMatterOnEachMember(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "--bcrypt-cost", "4")
	asked := c.leader()
	down := c.others(asked)[0]
	down.kill()
	asked.guard()
	down.start()
	proxy := startProxy(t, c)
	for _, s := range append(c.members, proxy) {
		eventually(t, time.Minute, s.name+" to know the users", func() error {
			if status, text := s.tryAs("bob", "GET", "/v2/keys/app/k?quorum=true", ""); status != http.StatusNotFound {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
		s.as("", "GET", "/v2/keys/app/k", "", 401)
		s.as("bob", "PUT", "/v2/keys/app/"+s.name, "value=1", 201)
		s.as("bob", "PUT", "/v2/keys/other", "value=1", 401)
		s.as("bob", "DELETE", "/v2/members/1", "", 401)
		s.as("eve", "GET", "/v2/keys/app/k", "", 401)
		s.as("root", "PUT", "/v2/auth/users/bob", `{"user":"bob","grant":["from `+s.name+`"]}`, 200)
	}
	for _, s := range c.members {
		if text := s.as("root", "GET", "/v2/auth/users/bob", "", 200); !strings.Contains(text, "from "+proxy.name) {
			t.Errorf("%s knows %s", s.name, text)
		}
	}
	c.agreeOpenly()
}

// agreeOpenly disables users, so that all may be read, and compares the members, who compare themselves, too.
func (c *cluster) agreeOpenly() {
	c.t.Helper()
	c.members[0].as("root", "DELETE", "/v2/auth/enable", "", 200)
	c.agree()
	for _, s := range c.members {
		if a := s.must(http.StatusOK, "GET", "/health", ""); strings.Contains(a.body, "alarm") {
			c.t.Errorf("%s: %s", s.name, a.body)
		}
	}
}

// The recorded conversations about users and roles are the same through a proxy.
func TestConformanceOfUsersThroughAProxy(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	scenarios := t.TempDir()
	for _, name := range []string{"auth-disabled.txt", "auth-enabled.txt"} {
		text, err := os.ReadFile(filepath.Join(*suite, "scenarios", name))
		if err != nil {
			t.Fatal(err)
		}
		kept, _ := filterScenarios(string(text), alone[name])
		if err := os.WriteFile(filepath.Join(scenarios, name), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, 3, "--history-events", "1000", "--bcrypt-cost", "4")
	runSuite(t, startProxy(t, c), scenarios)
}

// The command line of the reference manages users and roles, with all its commands.
func TestEtcdctlManagesUsers(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("etcdctl is needed: apt-get install etcd-client")
	}
	s := newServer(t, "--bcrypt-cost", "4")
	s.start()
	for _, step := range []struct {
		as, command string // as: name:password, or nobody
		prints      []string
	}{
		{"", "user add root:pw", []string{"User root created"}},
		{"", "user list", []string{"root"}},
		{"", "role add app", []string{"Role app created"}},
		{"", "role grant app --path /app/* --readwrite", []string{"Role app updated"}},
		{"", "role get app", []string{"KV Read:", "/app/*", "KV Write:"}},
		{"", "user add bob:pw", []string{"User bob created"}},
		{"", "user grant bob --roles app", []string{"User bob updated"}},
		{"", "user get bob", []string{"Roles:  app"}},
		{"", "auth enable", []string{"Authentication Enabled"}},
		{"root:pw", "role list", []string{"app", "guest", "root"}},
		{"root:pw", "role revoke guest --path /* --readwrite", []string{"Role guest updated"}},
		{"bob:pw", "set /app/k 1", []string{"1"}},
		{"bob:pw", "get /app/k", []string{"1"}},
		{"bob:pw", "get /other", []string{"110: The request requires user authentication (Insufficient credentials)"}},
		{"", "get /app/k", []string{"110: The request requires user authentication"}},
		{"root:pw", "user revoke bob --roles app", []string{"User bob updated"}},
		{"bob:pw", "get /app/k", []string{"110: The request requires user authentication"}},
		{"root:pw", "user remove bob", []string{"User bob removed"}},
		{"root:pw", "role remove app", []string{"Role app removed"}},
		{"root:pw", "auth disable", []string{"Authentication Disabled"}},
		{"", "get /app/k", []string{"1"}},
	} {
		args := []string{"--endpoints", s.client}
		if step.as != "" {
			args = append(args, "-u", step.as)
		}
		command := exec.Command("etcdctl", append(args, strings.Fields(step.command)...)...)
		command.Env = append(os.Environ(), "ETCDCTL_API=2")
		out, _ := command.CombinedOutput() // refusals have another exit status
		for _, want := range step.prints {
			if !strings.Contains(string(out), want) {
				t.Errorf("etcdctl %s as %q prints %q, want %q", step.command, step.as, out, want)
			}
		}
	}
}

// An operator who has lost the password of root gets in with a flag and a restart, and the log says so loudly (A71).
func TestTheRootPasswordIsLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "--bcrypt-cost", "4")
	c.members[0].guard()
	s := c.members[1]
	s.as("", "PUT", "/v2/auth/users/root", `{"user":"root","password":"new"}`, 401)
	if status := s.signal(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	s.flags = append(s.flags, "--auth-recovery")
	s.start()
	s.waitLine("EVERYBODY may do everything")
	for _, m := range c.members {
		m.as("", "GET", "/v2/auth/enable", "", 200)
		eventually(t, time.Minute, "users to be disabled", func() error {
			if status, text := m.tryAs("", "GET", "/v2/keys/?quorum=true", ""); status != 200 {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
	}
	if strings.Contains(s.output.String(), "reads their passwords") { // A59: it listens on loopback only
		t.Error("a member on loopback warns of passwords in clear")
	}
	c.members[2].as("", "PUT", "/v2/auth/users/root", `{"user":"root","password":"`+password("root")+` 2"}`, 200)
	c.members[2].as("", "PUT", "/v2/auth/enable", "", 200)
	c.members[0].as("root", "GET", "/v2/auth/users", "", 401)
	c.members[0].as("bob", "GET", "/v2/keys/app/k", "", 404)
}

// A proxy shares a watch among clients of one user only, and an old password opens none that is shared (R96).
func TestAProxyMixesUpNoUsers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--bcrypt-cost", "4")
	c.members[0].guard()
	proxy := startProxy(t, c)
	const path = "/v2/keys/app/?wait=true&recursive=true&stream=true"
	open := func(user, secret string) *http.Response {
		t.Helper()
		r, err := http.NewRequest("GET", proxy.client+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			r.SetBasicAuth(user, secret)
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	first, second := open("bob", password("bob")), open("bob", password("bob"))
	for name, refused := range map[string]*http.Response{"a guest": open("", ""), "a wrong password": open("bob", "x"), "nobody": open("eve", password("bob"))} {
		if refused.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s gets %d", name, refused.StatusCode)
		}
	}
	proxy.as("bob", "PUT", "/v2/keys/app/k", "value=1", 201)
	for _, shared := range []*http.Response{first, second} {
		if line, err := bufio.NewReader(shared.Body).ReadString('\n'); err != nil || !strings.Contains(line, `"value":"1"`) {
			t.Errorf("a watch of bob gets %q, %v", line, err)
		}
	}
	proxy.as("root", "PUT", "/v2/auth/users/bob", `{"user":"bob","password":"changed"}`, 200)
	eventually(t, time.Minute, "the old password to open nothing", func() error {
		if again := open("bob", password("bob")); again.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("it gets %d", again.StatusCode)
		}
		return nil
	})
	if left, err := io.ReadAll(first.Body); len(left) > 0 { // it is cut: the proxy does not know that nothing is missing (P32)
		t.Errorf("the watch that is not allowed any more ends with %q, %v", left, err)
	}
}

// Users are enabled and disabled while members are killed and clients write: in the end all members have the same state (R13).
func TestUsersAreSwitchedWhileMembersDie(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "--bcrypt-cost", "4")
	c.members[0].guard()
	over := make(chan struct{})
	var writers sync.WaitGroup
	for n, user := range []string{"root", "bob", ""} {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
					c.members[n].tryAs(user, "PUT", fmt.Sprintf("/v2/keys/app/%d", i%10), "value=x") // may fail: members die
				}
			}
		})
	}
	for n := range 6 {
		victim, asked := c.members[n%3], c.members[(n+1)%3]
		victim.kill()
		method := []string{"DELETE", "PUT"}[n%2]
		eventually(t, time.Minute, "users to be switched", func() error {
			if status, text := asked.tryAs("root", method, "/v2/auth/enable", ""); status != 200 && status != http.StatusConflict {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
		victim.start()
	}
	close(over)
	writers.Wait()
	for _, s := range c.members {
		if text := s.as("", "GET", "/v2/auth/enable", "", 200); !strings.Contains(text, "true") {
			t.Errorf("%s says %s", s.name, text)
		}
	}
	c.agreeOpenly()
}
