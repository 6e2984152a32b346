//! The recipe `umbra init` writes: small, complete, and explained line by line.

use crate::schema::SCHEMA_FILE;

/// A commented recipe for an image called `name` on a Debian suite. The caller checks that
/// both are such (see [`parse`](crate::parse)); what is not is replaced.
pub fn init_template(name: &str, distro: &str) -> String {
    let name = if (crate::formats::IMAGE_NAME.check)(name).is_ok() { name } else { "image" };
    let suite = distro.strip_prefix("debian:").unwrap_or(distro);
    let suite = if (crate::formats::SUITE.check)(suite).is_ok() { suite } else { "bookworm" };
    TEMPLATE.replace("@SCHEMA@", SCHEMA_FILE).replace("@NAME@", name).replace("@SUITE@", suite)
}

const TEMPLATE: &str = r#"# yaml-language-server: $schema=./@SCHEMA@
#
# How the image `@NAME@` is made, and what must hold after each change on the way.
# Build it:          umbra build
# Stop after a step: umbra build --until packages
# Look inside:       umbra shell packages

version: 1
name: @NAME@

# Also possible: {dir: PATH}, {tar: PATH}, {oci: PATH:TAG}, {state: NAME}, or the long form
# {debian: {suite: @SUITE@, mirror: URL, packages: [...]}}.
from: debian:@SUITE@

# Used as ${{ vars.greeting }}; `umbra build --var greeting=Hi` sets another value.
vars:
  greeting: Hello

# Every step leaves one delta, which the shadows have at once. A step runs again only if its
# definition, the files it reads or the state before it changed.
steps:
  - name: packages
    packages: [python3]
    cache: [/var/cache/apt/archives, /var/lib/apt/lists] # kept between builds, not in the image

  - name: page
    write:
      path: /srv/www/index.html
      content: |
        <!doctype html>
        <title>@NAME@</title>
        <h1>${{ vars.greeting }} from @NAME@</h1>
      mode: "0644" # in quotes: YAML would read a bare 0644 as a decimal number

  # Other kinds of steps:
  #   - {name: code, copy: {src: app/, dest: /srv/app, owner: "www-data:www-data"}}
  #   - {name: setup, run: "useradd --system app", network: false}

# What runs in a shadow while tests look at it.
services:
  - name: www
    run: [python3, -m, http.server, --directory, /srv/www, "8080"]
    after: page
    user: www-data
    ready: {port: 8080}

tests:
  - name: python works # kind: unit, because it is a command
    after: [packages]
    run: python3 -c 'print("ok")'

  - name: page is served
    after: [page]
    http:
      url: http://localhost:8080/
      expect: {status: 200, body: "${{ vars.greeting }}"}

  - name: page is served fast
    after: final
    load:
      url: http://localhost:8080/
      rate: 20
      duration: 3s
      thresholds: ["p(95)<250ms", "errors<1%"]

  - name: nothing dangerous was added # each step is scanned for what it adds
    security: {fail_on: high, ports: [8080]}

# What a failed test does: halt (the default), ask, or continue.
on_error: halt

shadows:
  min: 1
  max: 4

# export:
#   - {format: oci, path: out/@NAME@}
"#;
