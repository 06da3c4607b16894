import { definePlugin, PLUGIN_API_VERSION } from '@scistream/core';

export default definePlugin({ apiVersion: PLUGIN_API_VERSION, providers: [] });
