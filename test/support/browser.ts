/** Simulates a person with a browser: follows redirects, keeps cookies, and submits every prefilled form. */
export class Browser {
  readonly #cookies = new Map<string, string>();

  /** @returns Text of the last page. */
  async open(address: string): Promise<string> {
    let url = address;
    let form: URLSearchParams | undefined;
    for (let steps = 0; steps < 20; steps += 1) {
      const cookie = [...this.#cookies].map((pair) => pair.join('=')).join('; ');
      const request = form ? { method: 'POST', body: form } : {};
      const response = await fetch(url, { ...request, redirect: 'manual', headers: { cookie } });
      this.#keep(response.headers.getSetCookie());
      const location = response.headers.get('location');
      const text = await response.text();
      if (location !== null) {
        [url, form] = [new URL(location, url).href, undefined];
        continue;
      }
      const action = /<form[^>]* action="([^"]*)"/.exec(text)?.[1];
      const fields = fieldsOf(text);
      if (action === undefined || [...fields.values()].includes('')) return text;
      [url, form] = [new URL(action, url).href, fields];
    }
    throw new Error(`too many pages, the last one is ${url}`);
  }

  #keep(cookies: readonly string[]): void {
    for (const cookie of cookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      if (value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }
}

function fieldsOf(html: string): URLSearchParams {
  const fields = new URLSearchParams();
  for (const [input] of html.matchAll(/<input[^>]*>/g)) {
    const [name, value] = ['name', 'value'].map((key) => new RegExp(` ${key}="([^"]*)"`).exec(input)?.[1]);
    if (name !== undefined) fields.set(name, value ?? '');
  }
  return fields;
}
