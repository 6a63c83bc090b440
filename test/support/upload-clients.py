# upload-clients.py requests|urllib URL FILE TIMEOUT: posts a file, and says what came back as JSON.

import json
import sys
import urllib.error
import urllib.request

library, url, path, timeout = sys.argv[1:]
with open(path, 'rb') as file:
    data = file.read()

if library == 'requests':
    import requests

    response = requests.post(url, data=data, timeout=float(timeout))
    status, headers, text = response.status_code, response.headers, response.text
else:
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=float(timeout))
    except urllib.error.HTTPError as error:
        response = error
    status, headers, text = response.status, response.headers, response.read().decode()

answer = {'status': status, 'text': text.rstrip()}
if headers.get('connection') is not None:
    answer['connection'] = headers['connection']
print(json.dumps(answer))
