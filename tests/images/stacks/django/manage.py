import json
import sys
from pathlib import Path

from django.conf import settings
from django.http import JsonResponse
from django.urls import path

settings.configure(
    SECRET_KEY="a-test", ALLOWED_HOSTS=["localhost"], ROOT_URLCONF=__name__, INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/app/db.sqlite3"}},
)
urlpatterns = [path("getconfig", lambda request: JsonResponse(json.loads(Path("/srv/config.json").read_text())))]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
