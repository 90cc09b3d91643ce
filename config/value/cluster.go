package value

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// ParseCluster reads name=url,name=url…; the URLs of a name that comes several times add up, and empty parts are
// skipped.
func ParseCluster(list string) (map[string]URLs, error) {
	texts := map[string][]string{}
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, text, named := strings.Cut(part, "=")
		if !named || name == "" {
			return nil, fmt.Errorf("%q is not name=URL (allowed: name=http://host:port, several with commas)", part)
		}
		texts[name] = append(texts[name], text)
	}
	cluster := map[string]URLs{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		urls, err := ParseURLs(strings.Join(texts[name], ","))
		if err != nil && strings.Contains(list, "@") {
			err = ErrHidden
		}
		if err != nil {
			return nil, fmt.Errorf("%w (in the part of %q; allowed: name=http://host:port, several with commas)", err, name)
		}
		cluster[name] = urls
	}
	return cluster, nil
}

// DuplicateURL gives a URL that comes twice, and the names that it comes under; "": there is none.
func DuplicateURL(cluster map[string]URLs) (url, names string) {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		for _, u := range cluster[name].Strings() {
			first, taken := owner[u]
			switch {
			case taken && first == name:
				return u, name + " twice"
			case taken:
				return u, first + " and " + name
			}
			owner[u] = name
		}
	}
	return "", ""
}

// NameList is the names of a cluster's members.
func NameList(cluster map[string]URLs) string {
	if len(cluster) == 0 {
		return "nobody"
	}
	return strings.Join(slices.Sorted(maps.Keys(cluster)), ", ")
}

// ClusterText is a cluster as the flag takes it, sorted by name.
func ClusterText(cluster map[string]URLs) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		for _, u := range cluster[name].Strings() {
			parts = append(parts, name+"="+u)
		}
	}
	return strings.Join(parts, ",")
}

// Unreachable says why no connection to a URL is possible; "": it may be.
func Unreachable(u *url.URL) string {
	switch {
	case u.Hostname() == "":
		return fmt.Sprintf("must name a host: %s; allowed: an address or a name that others can reach", u)
	case u.Port() == "0":
		return fmt.Sprintf("must name a port: %s; allowed: 1 to 65535", u)
	}
	return ""
}

// Cluster is a list of members with their peer URLs; the empty text is the empty list.
func Cluster(p *map[string]URLs) Value { return clusterValue{p} }

type clusterValue struct{ p *map[string]URLs }

func (v clusterValue) Set(s string) error {
	cluster, err := ParseCluster(s)
	if err != nil {
		return err
	}
	if url, names := DuplicateURL(cluster); url != "" {
		return fmt.Errorf("%s belongs to %s", url, names)
	}
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		for i := range cluster[name] {
			if why := Unreachable(&cluster[name][i]); why != "" {
				return errors.New(name + " " + why)
			}
		}
	}
	*v.p = cluster
	return nil
}
func (v clusterValue) String() string { return ClusterText(*v.p) }
func (v clusterValue) Type() string   { return "members" }
func (v clusterValue) Allowed() string {
	return "name=http://host:port or id=http://host:port, several with commas"
}
