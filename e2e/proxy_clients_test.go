package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

var cuts = flag.Int("cuts", 2000, "watches through a proxy whose clients leave; a long run takes 50000")

// R102: watches whose clients leave cost neither the proxy nor the member a
// connection.
func TestCutWatchesThroughAProxy(t *testing.T) {
	parallel(t)
	member := newServer(t).start()
	p := newProxy(t, member)
	p.launch()
	p.awaitEndpoints(1)
	before, memberBefore := openFiles(t, p), openFiles(t, member)
	var clients sync.WaitGroup
	const atOnce = 20
	for range atOnce {
		clients.Go(func() {
			for n := range *cuts / atOnce {
				if err := cutWatch(strings.TrimPrefix(p.client, "http://"), n); err != nil {
					t.Errorf("watch %d: %v", n, err)
					return
				}
			}
		})
	}
	clients.Wait()
	const idle = 2 * atOnce // kept for the next requests
	eventually(t, hang, "R102: connections to be closed", func() error {
		files, memberFiles := openFiles(t, p), openFiles(t, member)
		if files > before+idle || memberFiles > memberBefore+idle {
			return fmt.Errorf("%d descriptors of the proxy are open, %d before; %d of the member, %d before", files, before, memberFiles, memberBefore)
		}
		a, err := member.do(http.MethodGet, "/v2/stats/store", "")
		if err == nil && !strings.Contains(a.body, `"watchers":0`) {
			err = fmt.Errorf("the member still has watchers: %s", a.body)
		}
		return err
	})
}

// cutWatch opens a watch and leaves: at once, or when the answer has begun.
func cutWatch(address string, n int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	kind := []string{"", "&stream=true", "&recursive=true", "&stream=true&waitIndex=999999"}[n%4]
	if _, err := fmt.Fprintf(conn, "GET /v2/keys/w?wait=true%s HTTP/1.1\r\nHost: localhost\r\n\r\n", kind); err != nil {
		return err
	}
	if n%3 == 0 {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(hang)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// R113: when a member dies in the middle of a long answer, the client sees that
// it is not whole.
func TestAMemberDiesInTheMiddleOfAnAnswer(t *testing.T) {
	parallel(t)
	member := newServer(t).start()
	p := newProxy(t, member)
	p.launch()
	p.awaitEndpoints(1)
	value := strings.Repeat("v", 1<<20)
	for n := range 30 {
		member.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/large/%d?noValueOnSuccess=true", n), "value="+value)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.client, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /v2/keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	member.kill()
	if _, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Error("R113: the client took half an answer for whole")
	}
}

// R109: what could be read as two requests is at most the first of them, from
// the client to the member.
func TestSmugglingThroughAProxy(t *testing.T) {
	parallel(t)
	member := newServer(t).start()
	p := newProxy(t, member)
	p.launch()
	p.awaitEndpoints(1)
	const second = "PUT /v2/keys/smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	for name, head := range map[string]string{
		"CVE-2022-1705: a bad coding":         "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"CVE-2025-22871: bare LF in a chunk":  "Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
		"CVE-2019-16276: a blank in a name":   "Content-Length : 5\r\n\r\n12345",
		"two lengths":                         "Content-Length: 0\r\nContent-Length: 5\r\n\r\n12345",
		"an extension with a line feed in it": "Transfer-Encoding: chunked\r\n\r\n1;a\n=b\r\nx\r\n0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.client, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "PUT /v2/keys/first HTTP/1.1\r\nHost: localhost\r\n"+head+second)
		text, err := io.ReadAll(conn)
		if err != nil && len(text) == 0 {
			t.Logf("%s: %v", name, err) // cut without a word
		}
		conn.Close()
		if a, err := member.do(http.MethodGet, "/v2/keys/smuggled", ""); err != nil || a.status != http.StatusNotFound {
			t.Errorf("R109: %s: the second request was served: %d, %v\n%s", name, a.status, err, text)
		}
	}
}

// Events reach a client through a proxy as soon as they happen, and a stream
// outlives the member that served it.
func TestAStreamThroughAProxy(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	p := startProxy(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.client+"/v2/keys/s?wait=true&stream=true&recursive=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	for _, s := range c.members[:2] { // whichever of them it is, and then perhaps the next
		s.kill()
		s.start()
		p.awaitEndpoints(3)
	}
	lines := bufio.NewScanner(watch.Body)
	for n := range 5 {
		p.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/s/%d", n), fmt.Sprintf("value=%d", n))
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"value":"%d"`, n)) {
			t.Fatalf("event %d: %q, %v", n, lines.Text(), lines.Err())
		}
	}
}
