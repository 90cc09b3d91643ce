package value

import (
	"strings"
	"testing"
)

func TestURLLists(t *testing.T) { // F18, F19
	for _, tt := range []struct{ list, want, fault string }{
		{list: "http://127.0.0.1:2379", want: "http://127.0.0.1:2379"},
		{list: "http://b:1,http://a:1", want: "http://a:1,http://b:1"},
		{list: " http://a:1 ,\thttps://b:2 ", want: "http://a:1,https://b:2"},
		{list: "http://:2379", want: "http://:2379"},
		{list: "http://[::1]:2379", want: "http://[::1]:2379"},
		{list: "http://[fe80::1%25eth0]:2379", want: "http://[fe80::1%25eth0]:2379"},
		{list: "http://a:0", want: "http://a:0"},
		{list: "http://u:p@a:1?q#f", want: "http://u:p@a:1?q#f"},
		{list: "unix://a:1", fault: "URL scheme must be http or https: unix://a:1"},
		{list: "localhost:2379", fault: "URL scheme must be http or https: localhost:2379"},
		{list: "", fault: "URL scheme must be http or https: "},
		{list: "http://a:1,", fault: "URL scheme must be http or https: "},
		{list: "http://127.0.0.1", fault: `URL address does not have the form "host:port": http://127.0.0.1`},
		{list: "http://127.0.0.1:", fault: `URL address does not have the form "host:port": http://127.0.0.1:`},
		{list: "http://::1:2379", fault: `::1:2379`},
		{list: "http://a:65536", fault: "URL port must be between 0 and 65535: http://a:65536"},
		{list: "http://a:1/", fault: "URL must not contain a path: http://a:1/"},
		{list: "http://a:1/x", fault: "URL must not contain a path: http://a:1/x"},
		{list: "127.0.0.1:2379", fault: `parse "127.0.0.1:2379": first path segment in URL cannot contain colon`},
		{list: strings.Repeat("http://a:1,", 256) + "http://a:1", fault: "more than 256 URLs"},
	} {
		got, err := ParseURLs(tt.list)
		switch {
		case tt.fault == "" && (err != nil || got.String() != tt.want):
			t.Errorf("ParseURLs(%q) = %v, %v, want %s", tt.list, got, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
			t.Errorf("ParseURLs(%q) = %v, %v, want the error %s", tt.list, got, err, tt.fault)
		}
	}
}
