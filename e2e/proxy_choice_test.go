package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// endpoints are those of a proxy that are well, the first choice first.
func (s *server) endpoints() []string {
	s.t.Helper()
	var answer struct{ Endpoints []string }
	a := s.must(http.StatusOK, http.MethodGet, "/v2/config/local/proxy", "")
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer.Endpoints
}

// openWatch gives the events of a watch, which has begun.
func (s *server) openWatch(target string) *bufio.Reader {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close(); cancel() })
	return bufio.NewReader(response.Body)
}

// P18, P32, P33: when the first choice of a proxy is stopped in its tracks,
// watches on it that wait for their first event miss nothing, and others are cut.
func TestAMemberFreezesBehindAProxy(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	p := startProxy(t, c, "--proxy-failure-wait", "500")
	first := c.members[slices.IndexFunc(c.members, func(s *server) bool { return s.client == p.endpoints()[0] })]
	single, stream := p.openWatch("/v2/keys/w?wait=true"), p.openWatch("/v2/keys/w?wait=true&stream=true")
	delivered := p.openWatch("/v2/keys/other?wait=true&stream=true")
	p.must(http.StatusCreated, http.MethodPut, "/v2/keys/other", "value=1")
	if line, err := delivered.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	first.pause()
	defer first.resume()
	eventually(t, hang, "a write elsewhere", func() error {
		a, err := send(quick, http.MethodPut, c.others(first)[0].client+"/v2/keys/w?value=while-frozen", "")
		if err == nil && a.status >= http.StatusMultipleChoices {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	for n, each := range []*bufio.Reader{single, stream} {
		if line, err := each.ReadString('\n'); err != nil || !strings.Contains(line, `"value":"while-frozen"`) {
			t.Errorf("watch %d: %q, %v", n, line, err)
		}
	}
	if line, err := delivered.ReadString('\n'); err == nil {
		t.Errorf("after its member froze, a stream went on with %q", line)
	}
}

// P45: a proxy's first choice is the member on its own host, also when that
// comes back.
func TestAProxyPrefersItsOwnHost(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3)
	for n, s := range c.members {
		p := newProxy(t, c.members[0], "--proxy-failure-wait", "500")
		p.client = "http://" + h.address(n) + ":12379"
		p.wrap = s.wrap
		p.launch()
		p.awaitEndpoints(3)
		own := func() error {
			if got := p.endpoints(); got[0] != s.client {
				return fmt.Errorf("on the host of %s the endpoints are %v", s.client, got)
			}
			return nil
		}
		eventually(t, hang, "the own member to be the first choice", own)
		s.kill()
		p.must(http.StatusOK, http.MethodGet, "/v2/keys/", "")
		s.start()
		eventually(t, hang, "the own member to be the first choice again", own)
	}
}
